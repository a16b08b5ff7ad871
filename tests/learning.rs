//! Networks, training and evaluation.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use lanet_live::clips::Dataset;
use lanet_live::expression::Expression;
use lanet_live::frame::Image;
use lanet_live::images;
use lanet_live::net::plan::Stage;
use lanet_live::net::{Backbone, LaNet, Model, Trunk, backbone};
use lanet_live::train::Start;
use lanet_live::train::branches::Branches;
use lanet_live::train::nursery::Nursery;
use lanet_live::train::weights::Mode;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

#[cfg(feature = "capture")]
use crate::program::media;
use crate::scratch::{Scratch, skipped};

/// A file of the folder beside the checkout, or `None` with the reason printed.
fn shared(file: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")).join(file);
    if !path.exists() {
        skipped(&format!("there is no {}", path.display()));
        return None;
    }
    Some(path)
}

#[test]
fn the_face_recognition_start_gives_the_means_that_another_engine_gave() {
    let Some(weights) = shared("pretrained/face-mobilenet-v1.safetensors") else { return };
    let Some(check) = shared("pretrained/face-mobilenet-v1.check.safetensors") else { return };
    let start = backbone::start(&weights, Backbone::MobilenetV1, 224, &Device::Cpu).unwrap();
    let net = Trunk::from_model(&start).unwrap();
    let check = candle_core::safetensors::load(check, &Device::Cpu).unwrap();
    // The check file's input says (1, 3, 224, 224) but holds its pixels one after the other, B, G, R each.
    let input = check["input"].to_dtype(DType::F32).unwrap().reshape((1, 224, 224, 3)).unwrap();
    let stages = net.stages(&input.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()).unwrap();
    let peak = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    for n in [5, 8, 11, 12, 13] {
        let ours = stages[n - 1].mean((2, 3)).unwrap().squeeze(0).unwrap();
        let theirs = &check[&format!("mean_of_pw{n}")];
        let error = peak(&(&ours - theirs).unwrap()) / peak(theirs);
        assert!(error < 0.01, "pw{n} is off by {error}");
    }
    assert_eq!(net.plan().multiply_adds(224, 224) / 1_000_000, 567);
}

#[test]
fn the_sface_start_gives_the_means_that_another_engine_gave() {
    let Some(file) = shared("pretrained/sface-mobilenet-v1.safetensors") else { return };
    let Some(check) = shared("pretrained/sface-mobilenet-v1.check.safetensors") else { return };
    let plan = Backbone::SfaceMobilenetV1.plan();
    let net = Branches { plan: plan.clone(), landmarks: 0, frozen: None, meant: false };
    let rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut weights = net.grow(&mut Nursery { rng, dtype: DType::F32, device: Device::Cpu }).unwrap();
    let start = Start::open(&file.to_string_lossy()).unwrap();
    assert!(!net.start(&mut weights, &start, &Device::Cpu, DType::F32).unwrap());
    let check = candle_core::safetensors::load(check, &Device::Cpu).unwrap();
    // As above, pixels one after the other, R, G, B each.
    let input = check["input"].to_dtype(DType::F32).unwrap().reshape((1, 112, 112, 3)).unwrap();
    let input = input.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
    let off = |ours: &Tensor, name: &str| {
        let theirs = &check[name];
        let peak = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        let error = peak(&(ours - theirs).unwrap()) / peak(theirs);
        assert!(error < 0.01, "{name} is off by {error}");
    };
    let last = net.forward(&mut weights, &input, Mode::Use).unwrap().features;
    off(&last.squeeze(0).unwrap(), "last");
    let tensors = net.export(&weights).unwrap();
    let used = Trunk::new(&plan, |name| tensors.get(name).cloned()).unwrap();
    let stages = used.stages(&input).unwrap();
    for n in [5, 8, 11, 12, 13] {
        off(&stages[n - 1].mean((2, 3)).unwrap().squeeze(0).unwrap(), &format!("pw{n}"));
    }
}

/// A MobileNet with weights that their places give, as a file of bare weights.
pub fn painted_start(file: &Path) {
    let mut tensors = HashMap::new();
    for layer in Backbone::MobilenetV1.plan().stages.iter().flat_map(Stage::layers) {
        let (n, salt) = (layer.weight.iter().product::<usize>(), tensors.len());
        let inputs = (n / layer.weight[0]) as f32;
        let value =
            |i: usize| (((i * 7919 + salt * 104_729) % 1009) as f32 / 504.5 - 0.9) * 1.7 / inputs.sqrt();
        let values = (0..n).map(value).collect();
        let weight = Tensor::from_vec(values, &layer.weight, &Device::Cpu).unwrap();
        tensors.insert(format!("{}.weight", layer.name), weight);
        let shift = Tensor::zeros(layer.weight[0], DType::F32, &Device::Cpu).unwrap();
        tensors.insert(format!("{}.shift", layer.name), shift);
    }
    candle_core::safetensors::save(&tensors, file).unwrap();
}

/// Pictures that a child could tell apart: dark, bright and striped ones, in folders named after expressions.
pub fn painted_data(folder: &Path) {
    for (label, paint) in [
        (Expression::Sadness, (|_| 40) as fn(usize) -> usize),
        (Expression::Happiness, |_| 190),
        (Expression::Anger, |x| if x / 6 % 2 == 0 { 10 } else { 230 }),
    ] {
        fs::create_dir_all(folder.join(label.name())).unwrap();
        for n in 0..20 {
            let pixels = (0..48 * 48).flat_map(|i| [(paint(i % 48) + n) as u8; 3]).collect();
            let path = folder.join(label.name()).join(format!("{n}.png"));
            images::write(&path, &Image::new(48, 48, pixels).unwrap(), false).unwrap();
        }
    }
}

pub fn lanet_live(folder: &Scratch, arguments: &str) -> (bool, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lanet-live"))
        .current_dir(folder.path(""))
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_classifier_learns_from_folders_of_pictures_the_same_each_time_and_is_evaluated() {
    let folder = Scratch::new();
    painted_start(&folder.path("start.safetensors"));
    painted_data(&folder.path("data"));
    fs::write(folder.path("data/anger/broken.png"), "no picture").unwrap();
    let train = "train --data data --freeze backbone --start start.safetensors --size 32 --views 3 --epochs 40 \
                 --rate 0.01 --decay 0 --batch 16 --output";
    for output in ["one", "two"] {
        let (success, _, said) = lanet_live(&folder, &format!("{train} {output}"));
        assert!(success, "{said}");
        assert!(
            said.contains("broken.png")
                && said.contains("will not be told: neutral, surprise, disgust, fear"),
            "{said}"
        );
    }
    let weights = |model: &str| fs::read(folder.path(model).join("best/weights.safetensors")).unwrap();
    assert_eq!(weights("one"), weights("two"));
    let model = Model::load(&folder.path("one/best"), &Device::Cpu).unwrap();
    assert_eq!(LaNet::from_model(&model).unwrap().input().width, 32);

    let (success, table, said) = lanet_live(&folder, "evaluate --data data --model one/best --json out.json");
    assert!(success, "{said}");
    assert!(table.contains("accuracy") && table.contains("sadness"), "{table}");
    let figures: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path("out.json")).unwrap()).unwrap();
    assert!(figures["accuracy"].as_f64().unwrap() > 0.9, "{figures}");
    assert_eq!((&figures["images"], &figures["without_face"]), (&60.into(), &60.into()));
    assert_eq!(figures["confusion"].as_array().unwrap().len(), 8);
    assert!(figures["recall"]["fear"].is_null() && figures["recall"]["anger"].is_number());
    assert!(figures["ece"].is_number() && figures["macro_f1"].is_number());

    let (success, _, said) = lanet_live(&folder, &format!("{train} one"));
    assert!(!success && said.contains("holds a run already"), "{said}");
    fs::remove_file(folder.path("one/run.safetensors")).unwrap();
    let (success, _, said) = lanet_live(&folder, &format!("{train} one"));
    assert!(!success && said.contains("one/best' exists already"), "{said}");
    fs::create_dir_all(folder.path("mine/best")).unwrap();
    fs::write(folder.path("mine/best/diary.txt"), "mine").unwrap();
    let (success, _, said) = lanet_live(&folder, &format!("{train} mine -y"));
    assert!(!success && said.contains("holds more than a model") && !said.contains("epoch"), "{said}");
    // Nothing is replaced without leave, and what is read never; without a cache it goes on.
    for (arguments, expected) in [
        ("--json out.json", "'out.json' exists already"),
        ("--fit-calibration out.json", "'out.json' exists already"),
        ("--json data/anger/1.png -y", "both read and written"),
    ] {
        let (success, _, said) =
            lanet_live(&folder, &format!("evaluate --data data --model one/best {arguments}"));
        assert!(!success && said.contains(expected), "{said}");
    }
    let evaluate = "evaluate --data data --model one/best --cache out.json --json out.json -y";
    let (success, same, said) = lanet_live(&folder, evaluate);
    assert!(success && said.contains("cannot be kept") && said.contains("--cache"), "{said}");
    assert_eq!(same, table);
    let (success, _, said) = lanet_live(&folder, "evaluate --data data --model one/best --split test");
    assert!(!success && said.contains("no part 'test'"), "{said}");
}

#[cfg(feature = "capture")]
#[test]
fn remembered_faces_give_the_same_figures_to_the_last_digit() {
    let folder = Scratch::new();
    let Some(picture) = media("single_face.jpg") else { return };
    fs::create_dir_all(folder.path("data/happiness")).unwrap();
    fs::copy(picture, folder.path("data/happiness/1.jpg")).unwrap();
    let figures = [true, false].map(|fresh| {
        assert_ne!(folder.path("data/.lanet-live").exists(), fresh);
        let (success, _, said) = lanet_live(&folder, "evaluate --data data --json out.json -y");
        assert!(success, "{said}");
        fs::read_to_string(folder.path("out.json")).unwrap()
    });
    assert_eq!(figures[0], figures[1]);
    assert!(figures[0].contains("\"without_face\": 0"), "{}", figures[0]);
    // The table of the data is no place for figures.
    fs::write(folder.path("data/labels.csv"), "path,label\nhappiness/1.jpg,happiness\n").unwrap();
    let (success, _, said) = lanet_live(&folder, "evaluate --data data --json data/labels.csv -y");
    assert!(!success && said.contains("both read and written"), "{said}");
    // Shards come with their table, which replaces another only with leave.
    fs::create_dir(folder.path("shards")).unwrap();
    fs::write(folder.path("shards/labels.csv"), "mine").unwrap();
    let (success, _, said) = lanet_live(&folder, "prepare --data data --output shards");
    assert!(!success && said.contains("labels.csv' exists already"), "{said}");
    assert!(lanet_live(&folder, "prepare --data data --output shards -y").0);
    let table = |of: &str| fs::read_to_string(folder.path(of).join("labels.csv")).unwrap();
    assert_eq!(table("shards"), table("data"));
}

#[test]
fn the_whole_method_runs_from_shards_is_resumed_and_loses_nothing() {
    let folder = Scratch::new();
    painted_data(&folder.path("data"));
    fs::write(folder.path("data/anger/broken.png"), "no picture").unwrap();
    let done = |arguments: &str| {
        let (success, _, said) = lanet_live(&folder, arguments);
        assert!(success, "{arguments}: {said}");
        said
    };
    assert!(done("prepare --data data --output shards").contains("broken.png"));
    // Shards may lie in the folder of their own table.
    let table = fs::read(folder.path("shards/labels.csv")).unwrap();
    fs::create_dir(folder.path("both")).unwrap();
    fs::write(folder.path("both/labels.csv"), &table).unwrap();
    lanet_live(&folder, "prepare --data both --output both");
    assert_eq!(fs::read(folder.path("both/labels.csv")).unwrap(), table);

    // Who is shown goes with the faces, so that nobody is learnt from and checked.
    for (person, label) in [("anna", "happiness"), ("bea", "anger")] {
        let mut pictures: Vec<_> =
            fs::read_dir(folder.path("data").join(label)).unwrap().map(|file| file.unwrap().path()).collect();
        pictures.sort();
        fs::create_dir_all(folder.path("people").join(person).join(label)).unwrap();
        fs::copy(&pictures[0], folder.path("people").join(person).join(label).join("a.png")).unwrap();
    }
    fs::write(folder.path("gone.csv"), "path,label\ngone.png,anger\n").unwrap();
    let (success, _, said) = lanet_live(&folder, "prepare --data gone.csv --output none");
    assert!(!success && said.contains("gone.png") && !folder.path("none/labels.csv").exists(), "{said}");
    done("prepare --data people --output kept");
    let table = fs::read_to_string(folder.path("kept/labels.csv")).unwrap();
    assert!(table.contains("anna/happiness/a.png,happiness,anna"), "{table}");

    let train = "train --data shards --size 32 --batch 8 --neighbours 3 --queue 64 --output";
    let said = done(&format!("{train} run --epochs 1 --seed 5"));
    assert!(said.contains("epoch   1:"), "{said}");
    let (success, _, said) = lanet_live(&folder, &format!("{train} run"));
    assert!(!success && said.contains("holds a run already"), "{said}");
    // A run that is over has nothing left to do, whatever is said now; its models stay as they are.
    let card = fs::read_to_string(folder.path("run/best/card.toml")).unwrap();
    let said = done(&format!("{train} run --epochs 7 --images 20 --resume"));
    assert!(
        said.contains("epochs of") && said.contains("faces on cpu") && said.contains("run/best: epoch 1"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(folder.path("run/best/card.toml")).unwrap(), card);
    assert!(card.contains("learnt from shards, labels: votes; started from random weights"), "{card}");
    for name in ["best/weights.safetensors", "last/calibration.toml", "run.safetensors", "metrics.csv"] {
        assert!(folder.path("run").join(name).exists(), "{name}");
    }
    done("evaluate --data data --model run/best");
    let metrics = fs::read_to_string(folder.path("run/metrics.csv")).unwrap();
    assert!(
        metrics.starts_with("epoch,images,seconds,rate,loss,")
            && metrics.contains(",sure,sure_right,mended,")
    );
    // A best model that is lost is not told of.
    fs::remove_dir_all(folder.path("run/best")).unwrap();
    let said = done(&format!("{train} run --resume"));
    assert!(said.contains("run/best is lost") && !said.contains("run/best: epoch"), "{said}");

    // A classifier alone learns from shards, too, in the same way.
    let classifier = "train --data shards --freeze backbone --size 32 --batch 8 --epochs 2 --output";
    let said = done(&format!(
        "{classifier} head --noise symmetric:0.3 --labels majority --split-report valid --images 40"
    ));
    assert!(
        said.contains("remembered in 2 views")
            && said.contains("40 faces")
            && said.matches("left out").count() == 1,
        "{said}"
    );
    done(&format!("{classifier} head --resume"));
    done("evaluate --data data --model head/best");

    for (arguments, expected) in [
        (format!("{classifier} none --rate=-1"), "rate of -1"),
        (format!("{classifier} none --landmark-branch on"), "--landmark-branch off"),
        (format!("{classifier} none --layers 14"), "--layers from 1 to 13"),
        (format!("{train} none --layers 5"), "--layers goes with --freeze backbone"),
        (format!("{train} none --start facemesh"), "no start for the backbone"),
        (format!("{train} none --labels fer2013"), "no column 'fer2013'"),
        (format!("{train} none --resume"), "run.safetensors"),
    ] {
        let (success, _, said) = lanet_live(&folder, &arguments);
        assert!(!success && said.contains(expected), "{arguments}: {said}");
    }
}

#[test]
fn what_was_meant_is_mixed_in_and_what_to_expect_is_chosen_afterwards() {
    let folder = Scratch::new();
    painted_data(&folder.path("data"));
    let mut table =
        "path,split,old,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt\n".to_owned();
    for n in 0..60 {
        let (label, votes) =
            [("sadness", "0,0,0,8,2,0,0,0"), ("happiness", "2,8,0,0,0,0,0,0"), ("anger", "0,0,0,5,5,0,0,0")]
                [n % 3];
        let split = if n < 45 { "train" } else { "valid" };
        let old = if n % 7 == 0 { "" } else { label };
        table += &format!("{label}/{}.png,{split},{old},{votes}\n", n / 3);
    }
    fs::write(folder.path("data/labels.csv"), table).unwrap();
    let run = |arguments: &str| lanet_live(&folder, arguments);
    let done = |arguments: &str| {
        let (success, told, said) = run(arguments);
        assert!(success, "{arguments}: {said}");
        told + &said
    };
    assert!(done("prepare --data data --output shards").contains("60 faces"));
    let train = "train --data shards --size 32 --batch 8 --epochs 1 --lde off --el off --landmark-branch off \
                 --average 0.9 --undecided --meant";
    assert!(
        done(&format!("{train} old --adjust on --backbone sface-mobilenet-v1 --output run"))
            .contains("45 faces")
    );
    let card = fs::read_to_string(folder.path("run/last/card.toml")).unwrap();
    assert!(card.contains("mix = 0.5") && card.contains("[priors]"), "{card}");
    let logits = |name: &str, options: &str| {
        done(&format!("evaluate --data data --split valid --model run/last --faces {name} -y {options}"));
        fs::read_to_string(folder.path(name)).unwrap()
    };
    assert_eq!(logits("a.csv", ""), logits("b.csv", "--mix 0.5 --prior balanced"));
    assert_ne!(logits("a.csv", ""), logits("b.csv", "--mix 1"));
    fs::write(folder.path("mostly.toml"), "anger = 0.98\nsadness = 0.01\nhappiness = 0.01").unwrap();
    fs::write(folder.path("joy.toml"), "joy = 1.0").unwrap();
    let told =
        done("evaluate --data data --split valid --model run/last --prior mostly.toml --json out.json");
    assert!(told.contains("macro recall") && told.contains("unsure"), "{told}");

    // A model whose logits hold their prior, and one classifier alone.
    done(
        "train --data shards --size 32 --batch 8 --epochs 1 --lde off --el off --landmark-branch off --output plain",
    );
    for (arguments, expected) in [
        (format!("{train} fer2013 --output none"), "no column 'fer2013'"),
        ("evaluate --data data --model run/last --prior joy.toml".into(), "no expression is called 'joy'"),
        (
            "evaluate --data data --model plain/last --prior balanced".into(),
            "the card of the model does not say",
        ),
        ("evaluate --data data --model plain/last --mix 0.3".into(), "cannot be mixed"),
    ] {
        let (success, _, said) = run(&arguments);
        assert!(!success && said.contains(expected), "{arguments}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

#[test]
fn tables_of_labels_and_of_votes_are_read_and_their_faults_named() {
    let folder = Scratch::new();
    let open = |text: &str| {
        fs::write(folder.path("labels.csv"), text).unwrap();
        Dataset::open(&folder.path(""))
    };
    let data =
        open("path,label,split\na.png,happiness,train\nb.png,joy,train\nc.png\n,anger,x\nd.png,Fear,\n")
            .unwrap();
    assert_eq!(data.entries.len(), 2);
    assert_eq!(data.entries[0].path, folder.path("a.png"));
    assert_eq!((data.entries[1].label, data.entries[1].split.as_deref()), (Expression::Fear, None));
    let skipped: Vec<_> = data.skipped.iter().map(|s| format!("{}: {}", s.what, s.why)).collect();
    assert!(skipped[0].starts_with("line 3: no expression is called 'joy'"), "{skipped:?}");
    assert!(skipped[1].starts_with("line 4: ") && skipped[2].contains("names no picture"), "{skipped:?}");

    let votes =
        "path,split,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,not_a_face\n";
    let data = open(&format!(
        "{votes}a.png,train,6,1,0,3,0,0,0,0,0,0\nb.png,train,5,5,0,0,0,0,0,0,0,0\n\
         c.png,train,0,0,0,0,0,0,0,0,0,0\nd.png,train,x,0,0,0,0,0,0,0,0,0\n"
    ))
    .unwrap();
    assert_eq!((data.entries.len(), data.undecided.len(), data.skipped.len()), (1, 1, 2));
    // The single vote for happiness counts as none.
    let shares = data.entries[0].votes.unwrap();
    assert!((shares.of(Expression::Neutral) - 2.0 / 3.0).abs() < 1e-6);

    for (text, said) in [
        ("file,label\na.png,fear\n", "columns are file,label"),
        ("path,neutral\na.png,3\n", "columns are path,neutral"),
        ("path,label\n", "no labelled picture"),
        ("path,label\na.png,joy\n", "'joy'"),
    ] {
        let line = open(text).unwrap_err().line();
        assert!(line.contains(said), "{line}");
    }
    fs::remove_file(folder.path("labels.csv")).unwrap();
    assert!(Dataset::open(&folder.path("")).unwrap_err().line().contains("named after an expression"));
    fs::create_dir(folder.path("anger")).unwrap();
    assert!(Dataset::open(&folder.path("")).unwrap_err().line().contains("no picture"));
    assert!(Dataset::open(&folder.path("nowhere")).is_err());
}

#[test]
fn the_majority_protocol_counts_the_faces_of_ferplus_that_the_data_state() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/data/ferplus");
    if !data.exists() {
        skipped(&format!("there is no {}", data.display()));
        return;
    }
    let data = Dataset::open(&data).unwrap();
    let count = |split| data.split(split).unwrap().len();
    assert_eq!((count("train"), count("valid-a"), count("valid-b")), (23_509, 1_552, 1_582));
}
