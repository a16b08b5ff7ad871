//! Whole runs of a narrow network on painted faces.

use std::collections::HashMap;

use candle_core::Tensor;

use super::super::branches::Branches;
use super::super::contrast::Contrast;
use super::super::events::Event;
use super::super::labels::Estimation;
use super::super::lesson::tests::lesson;
use super::super::noise::Noise;
use super::super::nursery::tests::nursery;
use super::super::optim::Method;
use super::super::pictures::Augmentation;
use super::super::recipe::Meant;
use super::*;
use crate::net::Backbone;
use crate::net::lanet::Pool;

fn plan() -> Plan {
    Plan::mobilenet(4)
}

fn recipe() -> Recipe {
    Recipe {
        seed: 3,
        epochs: 4,
        batch: 8,
        rate: 3e-3,
        augmentation: Augmentation { crop: 0.9, jitter: 0.1, ..Augmentation::default() },
        lde: Some((Estimation { neighbours: 3, memory: 0.9 }, 1.0)),
        el: Some((Contrast { queue: 20, momentum: 0.9, ..Contrast::default() }, 0.1)),
        ..Recipe::published(Backbone::MobilenetV1, 32)
    }
}

/// A classifier alone, on painted faces.
fn classifier() -> Recipe {
    let head = vec![Pool { stage: 11, grid: 2 }, Pool { stage: 13, grid: 1 }];
    Recipe {
        seed: 3,
        epochs: 12,
        batch: 8,
        probe: Some(head),
        ..Recipe::classifier(Backbone::MobilenetV1, 32)
    }
}

fn course(train: Lesson, valid: Lesson) -> Course {
    Course { train, valid, about: "painted faces, labels: votes".into(), ..Course::default() }
}

fn begin(recipe: Recipe) -> Result<Training> {
    begin_from(recipe, None)
}

fn begin_from(recipe: Recipe, start: Option<&Start>) -> Result<Training> {
    Training::begin_with(recipe, plan(), course(lesson(35, 4), Lesson::default()), start, &Device::Cpu)
}

/// Random weights, folded as those of a model in use.
fn start() -> Start {
    let net = Branches { plan: plan(), landmarks: 0, frozen: None, meant: false };
    let weights = net.grow(&mut nursery(DType::F32)).unwrap();
    Start { name: "folded".into(), tensors: net.export(&weights).unwrap(), card: None }
}

fn epochs(training: &mut Training) -> Vec<Epoch> {
    let epoch =
        |event: Result<Event>| if let Event::Epoch(epoch) = event.unwrap() { Some(epoch) } else { None };
    training.filter_map(epoch).collect()
}

fn losses(training: &mut Training) -> Vec<f64> {
    let loss = |event: Result<Event>| match event.unwrap() {
        Event::Step { losses, .. } => Some(losses.total),
        _ => None,
    };
    training.filter_map(loss).collect()
}

fn bits(training: &Training) -> Vec<(String, Vec<u32>)> {
    let tensors = training.state.weights.learnt.iter().chain(&training.state.weights.kept);
    tensors
        .map(|(name, t)| {
            let values = t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (name.clone(), values.into_iter().map(f32::to_bits).collect())
        })
        .collect()
}

fn temporary(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("lanet-{name}-{}.safetensors", std::process::id()))
}

#[test]
fn a_run_stopped_and_resumed_equals_an_uninterrupted_one() {
    stop_and_resume(recipe());
    stop_and_resume(Recipe { frozen: Some(2), warm_up: 1, ..recipe() });
    let meant = Some(Meant { weight: 0.5, mix: 0.5 });
    stop_and_resume(Recipe { el: None, meant, adjust: true, average: Some(0.8), ..recipe() });
    stop_and_resume(Recipe { epochs: 4, meant, adjust: true, average: Some(0.8), ..classifier() });
}

fn stop_and_resume(recipe: Recipe) {
    let recipe = Recipe { images: Some(35), ..recipe };
    let given = || course(lesson(40, 4), lesson(12, 4));
    let begin =
        || Training::begin_with(recipe.clone(), plan(), given(), Some(&start()), &Device::Cpu).unwrap();
    let mut whole = begin();
    let scores = epochs(&mut whole);
    // 35 samples in batches of 8.
    assert_eq!((scores.len(), scores[0].images), (4, 32));
    let mut first = begin();
    let file = temporary("resume");
    assert!(first.save(&file).unwrap_err().line().contains("between epochs"));
    for event in first.by_ref() {
        if let Event::Epoch(Epoch { epoch: 2, .. }) = event.unwrap() {
            break;
        }
    }
    // As text of few digits this would come back smaller.
    let best = Some(Best { epoch: 2, score: 1412.0 / 1552.0 });
    first.state.about.best = best;
    first.save(&file).unwrap();
    drop(first);
    let load = |course| {
        let state = State::load(&file, &Device::Cpu).unwrap();
        Training::resume_with(state, plan(), course, &Device::Cpu)
    };
    assert!(load(course(lesson(39, 4), lesson(12, 4))).unwrap_err().line().contains("other data"));
    assert!(load(course(lesson(40, 4), lesson(11, 4))).unwrap_err().line().contains("other data"));
    // Other pictures under the same names.
    let mut other = given();
    other.train.faces[3].picture = other.train.faces[4].picture.clone();
    other.train.faces[2].picture = other.train.faces[4].picture.clone();
    assert!(load(other).unwrap_err().line().contains("other data"));
    let mut second = load(given()).unwrap();
    assert_eq!(second.best(), best);
    assert!(second.state.about.origin.contains("painted faces, labels: votes"));
    second.forget_best();
    assert!(epochs(&mut second)[0].best);
    assert_eq!(bits(&second), bits(&whole));
    let answers = |training: &Training| training.judged.as_ref().unwrap().1.clone();
    assert_eq!(answers(&second), answers(&whole));
    assert_eq!(second.state.bank, whole.state.bank);
    assert_eq!(second.state.queues.labels, whole.state.queues.labels);
    assert_eq!(second.epoch(), 4);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn every_part_can_be_switched_off_and_plain_cross_entropy_learns() {
    let off = Recipe { landmarks: None, lde: None, el: None, ..recipe() };
    for recipe in [
        Recipe { el: None, ..recipe() },
        Recipe { landmarks: None, el: None, ..recipe() },
        Recipe { lde: None, el: None, frozen: Some(2), ..recipe() },
        Recipe { frozen: Some(2), warm_up: 1, ..recipe() },
        Recipe { optimiser: Method::Sgd, warm_up: 1, noise: Some(Noise::Symmetric(0.3)), ..recipe() },
    ] {
        let epochs = epochs(&mut begin(Recipe { epochs: 2, ..recipe }).unwrap());
        assert!(epochs.iter().all(|e| e.losses.total.is_finite() && e.images == 32 && e.best));
    }
    let plain =
        Recipe { epochs: 12, rate: 1e-2, augmentation: Augmentation::NONE, order: Order::Shuffled, ..off };
    let given = Course { report: lesson(8, 4), ..course(lesson(35, 4), lesson(35, 4)) };
    let mut training = Training::begin_with(plain, plan(), given, None, &Device::Cpu).unwrap();
    let epochs = epochs(&mut training);
    assert!(epochs[11].losses.agreement > 0.45, "{epochs:?}");
    // In use, with statistics that lag behind so few steps, still far better than chance.
    let judgement = epochs[11].judgement.unwrap();
    assert!(judgement.accuracy >= 17.0 / 35.0 && epochs[11].reported.is_some(), "{judgement:?}");
    let best = training.best().unwrap();
    let first = epochs.iter().find(|e| e.judgement.unwrap().accuracy == best.score).unwrap();
    assert_eq!(first.epoch, best.epoch);
    // The model and its calibration appear together.
    let folder = std::env::temp_dir().join(format!("lanet-run-model-{}", std::process::id()));
    let card = training.save_model(&folder).unwrap();
    assert!(Calibration::load(&folder.join(CALIBRATION), &card.fingerprint).is_ok());
    assert!(card.origin.contains("learnt from painted faces, labels: votes; started from random weights"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_was_meant_is_learnt_beside_what_is_seen_and_the_average_of_the_weights_is_judged() {
    let off = Recipe { landmarks: None, lde: None, el: None, augmentation: Augmentation::NONE, ..recipe() };
    let meant = Some(Meant { weight: 1.0, mix: 0.5 });
    let order = Order::Shuffled;
    let added = |recipe| Recipe { epochs: 20, meant, adjust: true, average: Some(0.9), order, ..recipe };
    for recipe in [added(Recipe { rate: 1e-2, ..off }), added(classifier())] {
        let given = |lesson: Lesson| course(lesson.clone(), lesson);
        let begin =
            |course| Training::begin_with(recipe.clone(), plan(), course, Some(&start()), &Device::Cpu);
        let mut training = begin(given(lesson(35, 4))).unwrap();
        let epochs = epochs(&mut training);
        let meant = |of: &[Epoch]| of.iter().map(|epoch| epoch.losses.meant).sum::<f64>();
        assert!(meant(&epochs[17..]) < 0.9 * meant(&epochs[..3]), "{epochs:?}");
        let first = epochs[0].losses;
        assert!((first.total - first.given - first.meant).abs() < 1e-5);
        // Four classes were never seen, and are never told.
        let judged = &training.judged.as_ref().unwrap().1;
        assert!(judged.iter().all(|logits| logits[4..].iter().all(|&l| l < -99.0)));
        let values = |training: &Training| {
            let model = training.model("").unwrap();
            model.tensor("head.pw13.weight").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let averaged = values(&training);
        training.state.averaged = None;
        assert_ne!(values(&training), averaged);
        let mut silent = lesson(35, 4);
        silent.meant.fill(None);
        assert!(begin(given(silent)).unwrap_err().line().contains("what was meant"));
    }
}

#[test]
fn remembered_outputs_of_frozen_stages_learn_the_same() {
    let run = |views| {
        let off = Augmentation::NONE;
        let recipe =
            Recipe { landmarks: None, el: None, frozen: Some(5), views, augmentation: off, ..recipe() };
        let mut training = begin(Recipe { epochs: 2, ..recipe }).unwrap();
        assert_eq!(training.views(), views);
        losses(&mut training)
    };
    // Half precision is all that differs in the first step; steps on eight faces make it grow.
    for ((a, b), room) in run(0).into_iter().zip(run(2)).zip([0.005, 0.05]) {
        assert!((a - b).abs() < room * a, "{a} {b}");
    }
}

#[test]
fn a_classifier_learns_on_a_backbone_that_stays_as_it_is_to_the_bit() {
    let start = start();
    let given = || course(lesson(35, 4), lesson(35, 4));
    let begin = |recipe| Training::begin_with(recipe, plan(), given(), Some(&start), &Device::Cpu).unwrap();
    let mut training = begin(classifier());
    let epochs = epochs(&mut training);
    assert!(epochs[11].judgement.unwrap().accuracy > 0.8, "{epochs:?}");
    let model = training.model("m").unwrap();
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (name, tensor) in start.tensors.iter().filter(|(name, _)| !name.starts_with("head.")) {
        assert_eq!(values(model.tensor(name).unwrap()), values(tensor), "{name}");
    }
    assert_eq!(model.tensor("head.pw11.weight").unwrap().dims(), [COUNT, 64, 2, 2]);
    // What the remembered features say is what the network in use says.
    let used = LaNet::from_model(&model).unwrap();
    let look = super::super::batch::Look {
        input: training.recipe().input(),
        augmentation: Augmentation::NONE,
        maps: None,
        pictures: true,
        cutmix: 0.0,
    };
    let faces: Vec<_> = (0..35).map(|n| (n, 0)).collect();
    let pictures = look.batch(&lesson(35, 4), &faces).unwrap().pictures(&look.input, &Device::Cpu).unwrap();
    let said = values(&used.forward(&pictures).unwrap());
    let judged = training.judged.as_ref().unwrap().1.concat();
    assert!(said.iter().zip(&judged).all(|(a, b)| (a - b).abs() < 0.05), "{said:?} {judged:?}");
    // The order in which layers are named says nothing; every option counts.
    let plain = losses(&mut begin(classifier()));
    let reversed = classifier().probe.map(|pools| pools.into_iter().rev().collect());
    assert_eq!(losses(&mut begin(Recipe { probe: reversed, ..classifier() })), plain);
    for other in [
        Recipe { rate: 1e-2, ..classifier() },
        Recipe { decay: 0.9, ..classifier() },
        Recipe { optimiser: Method::Sgd, ..classifier() },
        Recipe { schedule: super::super::optim::Schedule::Constant, ..classifier() },
        Recipe { order: Order::Balanced, ..classifier() },
        Recipe { noise: Some(Noise::Symmetric(0.3)), ..classifier() },
        Recipe { lde: recipe().lde, ..classifier() },
        Recipe { images: Some(20), ..classifier() },
        Recipe { views: 1, ..classifier() },
        Recipe { augmentation: Augmentation::NONE, ..classifier() },
    ] {
        assert_ne!(losses(&mut begin(other.clone())), plain, "{other:?}");
    }
}

#[test]
fn the_whole_method_learns_from_wrong_labels_and_says_what_it_made_of_them() {
    let recipe = Recipe {
        epochs: 12,
        rate: 1e-2,
        noise: Some(Noise::Symmetric(0.2)),
        augmentation: Augmentation::NONE,
        ..recipe()
    };
    let mut training = begin(recipe).unwrap();
    let epochs = epochs(&mut training);
    let (first, last) = (epochs[0].losses, epochs[11].losses);
    assert!(last.landmarks < 0.6 * first.landmarks, "{epochs:?}");
    assert!(last.given < first.given && last.contrast > 0.0 && last.estimated > 0.0);
    // At first every given label is a sure one, and its noise is wrong: seven of 35 on average.
    assert!(first.sure > 0.9 && (0.6..0.95).contains(&(first.sure_and_right / first.sure)), "{first:?}");
    assert!(epochs[0].mended.is_some_and(|share| share < 0.5), "{epochs:?}");
    let truth = &training.lesson().truth;
    let wrong: Vec<usize> = (0..35).filter(|&n| training.classes[n] != truth[n] as usize).collect();
    let right = wrong.iter().filter(|&&n| training.state.bank.top(n) == truth[n] as usize).count();
    assert_eq!(epochs[11].mended, Some(right as f64 / wrong.len() as f64));
    assert!(
        begin(Recipe { lde: None, el: None, epochs: 1, ..self::recipe() })
            .map(|mut t| self::epochs(&mut t))
            .unwrap()[0]
            .mended
            .is_none()
    );
}

#[test]
fn a_net_that_compares_mirrored_faces_looks_at_the_same_places() {
    let off = Recipe { landmarks: None, lde: None, el: None, augmentation: Augmentation::NONE, ..recipe() };
    let differ = |weight| {
        let recipe = Recipe { epochs: 6, rate: 1e-2, consistency: Some(weight), ..off.clone() };
        let epochs = epochs(&mut begin(recipe).unwrap());
        let first = epochs[0].losses;
        assert!((first.total - first.given - weight * first.consistency).abs() < 1e-4, "{first:?}");
        epochs[5].losses.consistency
    };
    let (compared, only_measured) = (differ(5.0), differ(1e-9));
    assert!(0.0 < compared && compared < 0.5 * only_measured, "{compared} {only_measured}");
}

#[test]
fn whoever_waits_hears_of_everything_that_takes_long() {
    let recipe = Recipe { frozen: Some(5), landmarks: None, el: None, epochs: 1, ..recipe() };
    let given = course(lesson(35, 4), lesson(20, 4));
    let training = Training::begin_with(recipe, plan(), given, Some(&start()), &Device::Cpu).unwrap();
    let mut heard = HashMap::<&str, Vec<(usize, usize)>>::new();
    for event in training {
        match event.unwrap() {
            Event::Work { what, done, all } => heard.entry(what).or_default().push((done, all)),
            Event::Ready => assert_eq!(heard.len(), 2, "{heard:?}"),
            _ => {}
        }
    }
    assert_eq!(heard["faces to settle the weights"], [(16, 35), (32, 35), (35, 35)]);
    assert_eq!(heard["faces judged"], [(16, 20), (20, 20)]);
    let frozen = &heard["faces through the frozen layers"];
    // Three turns for each of four views.
    assert_eq!((frozen.len(), frozen[11]), (12, (140, 140)));
}

#[test]
fn what_cannot_work_is_refused() {
    let line = |recipe: Recipe| begin(recipe).unwrap_err().line();
    let frozen = |recipe| Recipe { frozen: Some(2), ..recipe };
    assert!(line(Recipe { batch: 36, ..recipe() }).contains("35 samples do not fill a batch of 36"));
    assert!(line(Recipe { batch: 1, ..recipe() }).contains("batch"));
    let lde = Some((Estimation { neighbours: 8, memory: 0.9 }, 1.0));
    assert!(line(Recipe { lde, ..recipe() }).contains("8 neighbours"));
    assert!(line(Recipe { landmarks: None, ..recipe() }).contains("--el off"));
    assert!(line(Recipe { lde: None, ..recipe() }).contains("--el off"));
    assert!(line(Recipe { frozen: Some(14), ..recipe() }).contains("13 stages"));
    for rate in [f64::NAN, -1.0, 0.0] {
        assert!(line(Recipe { rate, ..recipe() }).contains("rate"));
        assert!(line(Recipe { rate, ..classifier() }).contains("rate"));
    }
    assert!(line(Recipe { optimiser: Method::AdamW, decay: 1e3, ..recipe() }).contains("--decay"));
    let mixed = Recipe { cutmix: 0.5, ..recipe() };
    assert!(line(mixed.clone()).contains("--lde off"));
    assert!(line(frozen(Recipe { lde: None, el: None, ..mixed })).contains("--freeze"));
    assert!(line(Recipe { side: 8, ..recipe() }).contains("side"));
    assert!(line(Recipe { average: Some(1.5), ..recipe() }).contains("--average"));
    assert!(line(Recipe { sigma: Some(0.0), ..recipe() }).contains("--sigma"));
    for (weight, net) in [(-1.0, recipe()), (5.0, classifier()), (5.0, frozen(recipe()))] {
        assert!(line(Recipe { consistency: Some(weight), ..net }).contains("--flip-consistency"));
    }
    let spots = Recipe { sigma: Some(0.025), ..recipe() }.spots(16);
    assert_eq!((spots.sigma, recipe().spots(16).sigma), (0.4, 1.5));
    let lde = Some((Estimation { neighbours: 3, memory: 2.0 }, 1.0));
    assert!(line(Recipe { lde, ..recipe() }).contains("--memory"));
    let el = Some((Contrast { queue: 0, ..Contrast::default() }, 0.1));
    assert!(line(Recipe { el, ..recipe() }).contains("--queue"));
    assert!(line(classifier()).contains("--start"));
    assert!(line(Recipe { landmarks: Some(1.0), ..classifier() }).contains("--landmark-branch off"));
    assert!(line(Recipe { views: 0, ..classifier() }).contains("--views"));
    let head = |stage, grid| Recipe { probe: Some(vec![Pool { stage, grid }]), ..classifier() };
    for (stage, grid) in [(0, 1), (14, 1), (5, 0), (5, 9)] {
        assert!(line(head(stage, grid)).contains("--layers from 1 to 13"));
    }
    let twice = Some(vec![Pool { stage: 11, grid: 1 }; 2]);
    assert!(line(Recipe { probe: twice, ..classifier() }).contains("each once"));
    let one = course(lesson(1, 1), Lesson::default());
    let one = Training::begin_with(recipe(), plan(), one, None, &Device::Cpu);
    assert!(one.unwrap_err().line().contains("1 samples are too few"));
    let other = Start::of_model(&crate::net::embedded("facemesh", &Device::Cpu).unwrap());
    let error = begin_from(recipe(), Some(&other)).unwrap_err().line();
    assert!(error.contains("the model facemesh is no start for the backbone mobilenet-v1"), "{error}");
}

#[test]
fn a_loss_that_is_not_a_number_stops_with_the_batch_named() {
    let mut training = begin(Recipe { rate: 1e30, optimiser: Method::Sgd, ..recipe() }).unwrap();
    let error = training.find_map(Result::err).expect("an error").line();
    assert!(error.contains("not a number in epoch 1, batch") && error.contains(".png"), "{error}");
    assert!(training.next().is_none());
}
