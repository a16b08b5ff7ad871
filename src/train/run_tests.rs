//! Whole runs of a narrow network on painted faces.

use candle_core::Device;

use super::super::batch::tests::lesson;
use super::super::contrast::Contrast;
use super::super::labels::Estimation;
use super::super::noise::Noise;
use super::super::optim::Method;
use super::super::recipe::Meant;
use super::*;
use crate::expression::Distribution;
use crate::net::Backbone;

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

fn begin(recipe: Recipe) -> Result<Training> {
    Training::begin_with(recipe, plan(), lesson(35, 4), None, &Device::Cpu)
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
}

fn stop_and_resume(recipe: Recipe) {
    let mut whole = begin(recipe.clone()).unwrap();
    let events: Vec<Event> = whole.by_ref().collect::<Result<_>>().unwrap();
    // 35 samples in batches of 8: four steps and the end of the epoch.
    assert_eq!(events.len(), 4 * 5);
    let mut first = begin(recipe).unwrap();
    let file = temporary("resume");
    for event in first.by_ref() {
        if let Event::Epoch { epoch: 2, .. } = event.unwrap() {
            break;
        }
    }
    // As text this would come back smaller.
    let score = 1412.0 / 1552.0;
    first.judged(score);
    first.set_origin("a test".into());
    first.save(&file).unwrap();
    drop(first);
    let load = |lesson| {
        let state = State::load(&file, &Device::Cpu).unwrap();
        Training::resume_with(state, plan(), lesson, &Device::Cpu)
    };
    assert!(load(lesson(34, 4)).unwrap_err().line().contains("other data"));
    let mut second = load(lesson(35, 4)).unwrap();
    assert_eq!(second.best(), Some(Best { epoch: 2, score }));
    assert_eq!(second.origin(), "a test");
    for event in second.by_ref() {
        event.unwrap();
    }
    assert_eq!(bits(&second), bits(&whole));
    let answers = |training: &Training| training.answers(&lesson(9, 4), 4).unwrap();
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
        let recipe = Recipe { epochs: 2, ..recipe };
        for event in begin(recipe).unwrap() {
            if let Event::Epoch { losses, images, .. } = event.unwrap() {
                assert!(losses.total.is_finite() && images == 32);
            }
        }
    }
    let plain =
        Recipe { epochs: 12, rate: 1e-2, augmentation: Augmentation::NONE, order: Order::Shuffled, ..off };
    let mut training = begin(plain).unwrap();
    let mut agreement = 0.0;
    for event in training.by_ref() {
        if let Event::Epoch { losses, .. } = event.unwrap() {
            agreement = losses.agreement;
        }
    }
    assert!(agreement > 0.45, "{agreement}");
    // In use, with statistics that lag behind so few steps, still far better than chance.
    let answers = training.answers(&lesson(35, 4), 16).unwrap();
    let classes = lesson(35, 4).classes();
    let right = answers
        .iter()
        .zip(classes)
        .filter(|(a, c)| Distribution::softmax(**a).top().0 as usize == *c)
        .count();
    assert!(right >= 17, "{right} of 35");
}

#[test]
fn what_was_meant_is_learnt_beside_what_is_seen_and_the_average_of_the_weights_is_judged() {
    let off = Recipe { landmarks: None, lde: None, el: None, augmentation: Augmentation::NONE, ..recipe() };
    let meant = Some(Meant { weight: 1.0, mix: 0.5 });
    let order = Order::Shuffled;
    let recipe = Recipe { epochs: 20, rate: 1e-2, meant, adjust: true, average: Some(0.9), order, ..off };
    let mut training = begin(recipe.clone()).unwrap();
    let mut epochs = Vec::new();
    for event in training.by_ref() {
        if let Event::Epoch { losses, .. } = event.unwrap() {
            epochs.push(losses);
        }
    }
    let meant = |of: &[Losses]| of.iter().map(|losses| losses.meant).sum::<f64>();
    assert!(meant(&epochs[17..]) < 0.9 * meant(&epochs[..3]), "{epochs:?}");
    assert!((epochs[0].total - epochs[0].given - epochs[0].meant).abs() < 1e-5);
    let judged = training.answers(&lesson(35, 4), 16).unwrap();
    // Four classes were never seen, and are never told.
    assert!(judged.iter().all(|logits| logits[4..].iter().all(|&l| l < -99.0)));
    training.state.averaged = None;
    assert_ne!(training.answers(&lesson(35, 4), 16).unwrap(), judged);
    let mut silent = lesson(35, 4);
    silent.meant.fill(None);
    let error = Training::begin_with(recipe, plan(), silent, None, &Device::Cpu).unwrap_err().line();
    assert!(error.contains("what was meant"), "{error}");
}

#[test]
fn remembered_outputs_of_frozen_stages_learn_the_same() {
    let run = |views| {
        let off = Augmentation::NONE;
        let recipe =
            Recipe { landmarks: None, el: None, frozen: Some(5), views, augmentation: off, ..recipe() };
        let mut training = begin(Recipe { epochs: 2, ..recipe }).unwrap();
        assert_eq!(training.remembered.is_some(), views > 0);
        let losses: Vec<f64> = training
            .by_ref()
            .filter_map(|event| match event.unwrap() {
                Event::Step { losses, .. } => Some(losses.total),
                Event::Epoch { .. } => None,
            })
            .collect();
        losses
    };
    // Half precision is all that differs in the first step; steps on eight faces make it grow.
    for ((a, b), room) in run(0).into_iter().zip(run(2)).zip([0.005, 0.05]) {
        assert!((a - b).abs() < room * a, "{a} {b}");
    }
}

#[test]
fn the_whole_method_learns_from_wrong_labels() {
    let recipe = Recipe {
        epochs: 12,
        rate: 1e-2,
        noise: Some(Noise::Symmetric(0.2)),
        augmentation: Augmentation::NONE,
        ..recipe()
    };
    let mut training = begin(recipe).unwrap();
    let epochs: Vec<Losses> = training
        .by_ref()
        .filter_map(|event| match event.unwrap() {
            Event::Epoch { losses, .. } => Some(losses),
            Event::Step { .. } => None,
        })
        .collect();
    assert!(epochs[11].landmarks < 0.6 * epochs[0].landmarks, "{epochs:?}");
    assert!(epochs[11].given < epochs[0].given && epochs[11].contrast > 0.0 && epochs[11].estimated > 0.0);
}

#[test]
fn what_cannot_work_is_refused() {
    let line = |recipe: Recipe| begin(recipe).unwrap_err().line();
    assert!(line(Recipe { batch: 36, ..recipe() }).contains("35 samples do not fill a batch of 36"));
    assert!(line(Recipe { batch: 1, ..recipe() }).contains("batch"));
    let lde = Some((Estimation { neighbours: 8, memory: 0.9 }, 1.0));
    assert!(line(Recipe { lde, ..recipe() }).contains("8 neighbours"));
    assert!(line(Recipe { landmarks: None, ..recipe() }).contains("--el off"));
    assert!(line(Recipe { lde: None, ..recipe() }).contains("--el off"));
    assert!(line(Recipe { frozen: Some(14), ..recipe() }).contains("13 stages"));
    assert!(line(Recipe { rate: f64::NAN, ..recipe() }).contains("rate"));
    assert!(line(Recipe { side: 8, ..recipe() }).contains("side"));
    assert!(line(Recipe { average: Some(1.5), ..recipe() }).contains("--average"));
    let lde = Some((Estimation { neighbours: 3, memory: 2.0 }, 1.0));
    assert!(line(Recipe { lde, ..recipe() }).contains("--memory"));
    let el = Some((Contrast { queue: 0, ..Contrast::default() }, 0.1));
    assert!(line(Recipe { el, ..recipe() }).contains("--queue"));
    let one = Training::begin_with(recipe(), plan(), lesson(1, 1), None, &Device::Cpu);
    assert!(one.unwrap_err().line().contains("1 samples are too few"));
}

#[test]
fn a_loss_that_is_not_a_number_stops_with_the_batch_named() {
    let mut training = begin(Recipe { rate: 1e30, optimiser: Method::Sgd, ..recipe() }).unwrap();
    let error = training.find_map(Result::err).expect("an error").line();
    assert!(error.contains("not a number in epoch 1, batch") && error.contains(".png"), "{error}");
    assert!(training.next().is_none());
}
