//! Several inputs, one after another: a file of each in a folder, what is done skipped, what failed in a table.
//!
//! The files of an input are made in a hidden folder and get their names when the input has been read to its end: what
//! stands under its name is whole, also after an interrupt.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lanet_live::error::{Context, Error, Kind, Result};
use lanet_live::images;
use lanet_live::part::{self, FolderPart, Part};
use lanet_live::results::Format;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::options::Options;
use super::report::Progress;
use super::source::Source;
use super::{Nets, watch};
use crate::commands::bar::Bar;
use crate::commands::{Outcome, Stop, Talk, tell};

/// What was asked for, in the folder of the results.
const SETTINGS: &str = "_lanet-live.json";

/// The inputs, if they are to be read one after another: several of them, a list, or any whose files go into a folder.
pub fn inputs(options: &Options) -> Result<Option<Vec<OsString>>> {
    let mut inputs: Vec<_> = options.input.iter().flat_map(images::each).collect();
    if let Some(list) = &options.input_list {
        let listed = listed(list)?;
        inputs.extend(listed.lines().filter(|line| !line.trim().is_empty()).flat_map(images::each));
        if inputs.is_empty() {
            return Err(Error::new(format!("the list '{}' has no inputs in it", list.display()))
                .advice("write one a line"));
        }
    }
    let folders = options.results_format.is_some()
        || options.resume()
        || [&options.results, &options.timeline].into_iter().flatten().any(|path| is_folder(path));
    Ok(Some(inputs)
        .filter(|inputs| inputs.len() > 1 || options.input_list.is_some() || !inputs.is_empty() && folders))
}

fn listed(list: &Path) -> Result<String> {
    let read = match list.to_str() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => fs::read_to_string(list),
    };
    let text = read.with_context(|| format!("cannot read the list '{}'", list.display()))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// Whether a path can only be that of a folder.
fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// Reads all of them.
pub fn run(
    options: &Options,
    inputs: &[OsString],
    nets: &mut Nets,
    talk: Talk,
    stop: &Stop,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut jobs = jobs(options, inputs)?;
    let all = jobs.len();
    if options.resume() {
        jobs.retain(|job| !job.is_done());
    } else if let Some(there) = jobs.iter().flat_map(Job::places).find(|place| place.exists())
        && !options.overwrite()
    {
        return Err(Error::new(format!("'{}' exists already", there.display()))
            .of_kind(Kind::Output)
            .advice("go on with --resume, or allow overwriting with -y"));
    }
    let skipped = all - jobs.len();
    let fingerprint = nets.analyser(options, false, false)?.fingerprint().to_owned();
    if let Some(folder) =
        options.results.iter().chain(&options.output).chain(&options.timeline).find(|p| !is_pipe(p))
    {
        let ours = jobs.iter().flat_map(Job::places).collect();
        agree(folder, &settings(options, &fingerprint), options.overwrite().then_some(&ours))?;
    }

    let size = jobs.iter().map(|job| job.size).sum();
    let bar = Bar::new(talk, megabytes(size), &format!("MB of {} inputs", jobs.len()));
    let mut course = Course { bar: Arc::new(Mutex::new(bar)), before: 0 };
    let (mut done, mut frames, mut failures, mut ended) = (0, 0, Vec::new(), None);
    for job in &jobs {
        match job.run(options, nets, &course, talk, stop) {
            Ok(Some(read)) => (done, frames) = (done + 1, frames + read),
            Ok(None) => break,
            Err(failure) if failure.kind() == Kind::Output => {
                ended = Some(failure);
                break;
            }
            Err(failure) => failures.push((job, failure.line())),
        }
        course.before += job.size;
    }
    course.bar().clear();
    let seconds = began.elapsed().as_secs_f64();
    let before = if skipped > 0 { format!("; {skipped} were done before") } else { String::new() };
    let rate = frames as f64 / seconds;
    talk.say(&format!(
        "read {done} of {all} inputs, {frames} frames in {seconds:.1} s, {rate:.1} frames/s{before}"
    ));
    if !failures.is_empty() {
        let width = failures.iter().map(|(job, _)| job.shown().chars().count()).max().unwrap_or(0).min(48);
        failures.iter().for_each(|(job, line)| tell(&format!("failed: {:width$}  {line}", job.shown())));
        ended.get_or_insert_with(|| {
            Error::new(format!("{} of {all} inputs failed", failures.len()))
                .advice("see the lines above; with --resume only what is missing is read again")
        });
    }
    if let Some(failure) = ended {
        return Err(failure);
    }
    Ok(if stop.asked() { Outcome::Interrupted } else { Outcome::Done })
}

/// How far it is.
struct Course {
    bar: Arc<Mutex<Bar>>,
    /// The bytes of the inputs before this one.
    before: u64,
}

impl Course {
    fn bar(&self) -> MutexGuard<'_, Bar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Within an input of this size.
    fn within(&self, size: u64, source: &Source) -> Progress {
        let here = Self { bar: self.bar.clone(), before: self.before };
        let count = source.count.unwrap_or(0).max(1) as f64;
        Box::new(move |frames| {
            let share = (frames as f64 / count).min(1.0);
            here.bar().reach(megabytes(here.before + (size as f64 * share) as u64));
        })
    }
}

fn megabytes(bytes: u64) -> usize {
    (bytes / 1_000_000) as usize
}

fn is_pipe(path: &Path) -> bool {
    path == Path::new("-")
}

/// An input and what is made of it.
struct Job {
    input: OsString,
    /// In bytes, if it is a file.
    size: u64,
    results: Option<Target>,
    output: Option<Target>,
    timeline: Option<Target>,
}

/// A file, or a folder of pictures, below a folder that was named.
struct Target {
    folder: PathBuf,
    below: PathBuf,
}

/// What is to be done for each input. Its files lie in the folders under its own path, so that no two are one.
fn jobs(options: &Options, inputs: &[OsString]) -> Result<Vec<Job>> {
    if options.serve.is_some() || options.no_window == Some(false) {
        return Err(Error::usage("several inputs are neither shown nor served").advice("give one input"));
    }
    let folders = [&options.results, &options.output, &options.timeline].map(|path| path.as_deref());
    if folders == [None; 3] {
        return Err(Error::usage("nothing is to be written of several inputs").advice("add --results DIR/"));
    }
    let mut places = BTreeSet::new();
    for path in folders.into_iter().flatten().filter(|path| !is_pipe(path)) {
        if !is_folder(path) && (path.exists() || path.extension().is_some()) {
            return Err(Error::usage(format!(
                "several inputs, --results-format and --resume write into a folder, and '{}' is a file's name",
                path.display()
            ))
            .advice("name a folder, such as out/"));
        }
    }
    let format = Format::from(options.results_format.unwrap_or_default());
    let job = |input: &OsString| {
        let path = Path::new(input);
        let target = |folder: Option<&Path>, ending: Option<&str>| {
            let folder = folder.filter(|path| !is_pipe(path))?.to_owned();
            let is_name = |part: &Component| matches!(part, Component::Normal(_));
            let mut below: PathBuf = path.components().filter(is_name).collect();
            if below == Path::new("") {
                // `.` and `..` have a name elsewhere.
                below.extend(path.canonicalize().ok()?.file_name());
            }
            if let Some(ending) = ending {
                below.as_mut_os_string().push(format!(".{ending}"));
            }
            Some(Target { folder, below })
        };
        let drawn = match path.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
            // A folder or a pattern of pictures becomes a folder.
            _ if !path.is_file() => None,
            Some("mp4" | "m4v" | "mov" | "mkv" | "png" | "jpg" | "jpeg") => None,
            _ if images::has_image_name(path) => Some("png"),
            _ => Some("mp4"),
        };
        Job {
            input: input.clone(),
            size: fs::metadata(path).map_or(0, |file| file.len()),
            results: target(folders[0], Some(format.extension())),
            output: target(folders[1], drawn),
            timeline: target(folders[2], Some("png")),
        }
    };
    let jobs: Vec<Job> = inputs.iter().map(job).collect();
    for (job, place) in jobs.iter().flat_map(|job| job.places().map(move |place| (job, place))) {
        if Path::new(&job.input)
            .canonicalize()
            .is_ok_and(|input| place.canonicalize().is_ok_and(|p| p == input))
        {
            return Err(Error::usage(format!("'{}' would be both read and written", place.display()))
                .advice("choose another folder for what is written"));
        }
        if !places.insert(place.clone()) {
            return Err(Error::usage(format!("'{}' would be written twice", place.display()))
                .advice("give each input once, by its path from one folder"));
        }
    }
    Ok(jobs)
}

impl Job {
    fn shown(&self) -> String {
        images::text_of(Path::new(&self.input)).replace(char::is_control, " ")
    }

    fn targets(&self) -> impl Iterator<Item = &Target> {
        [&self.results, &self.output, &self.timeline].into_iter().flatten()
    }

    fn places(&self) -> impl Iterator<Item = PathBuf> {
        self.targets().map(|target| target.folder.join(&target.below))
    }

    fn is_done(&self) -> bool {
        self.targets().next().is_some() && self.places().all(|place| place.exists())
    }

    /// Reads it, and gives its files their names. Returns how many frames there were; `None` after an interrupt.
    fn run(
        &self,
        options: &Options,
        nets: &mut Nets,
        course: &Course,
        talk: Talk,
        stop: &Stop,
    ) -> Result<Option<u64>> {
        if self.shown().contains("://") {
            return Err(Error::usage("an address is read alone, and its results are written to a file")
                .advice("give it as the only --input, with --results FILE.jsonl"));
        }
        let [results, output, timeline] = [&self.results, &self.output, &self.timeline]
            .map(|target| target.as_ref().map(Target::stage).transpose());
        let staged = [results?, output?, timeline?];
        let [results, output, timeline] =
            staged.each_ref().map(|stage| stage.as_ref().map(|(_, file)| file.clone()));
        let alone = Options {
            input: vec![self.input.clone()],
            input_list: None,
            results: results.or_else(|| options.results.clone()),
            output,
            timeline,
            no_window: Some(true),
            ..options.clone()
        };
        let Some(mut watched) = watch(&alone, nets, &|source| course.within(self.size, source), talk, stop)?
        else {
            return Ok(None);
        };
        for warning in &watched.warnings {
            course.bar().say(&format!("warning: {warning}"));
        }
        if let (Some(report), Some(format)) = (&watched.report, options.stats) {
            tell(&report.stats(format, None));
        }
        if !watched.failures.is_empty() {
            let worst = watched.failures.iter().position(|failure| failure.kind() == Kind::Output);
            // What was kept of a file must not go away with its folder.
            if worst.is_some() {
                let holds =
                    |folder: &TempDir| fs::read_dir(folder.path()).is_ok_and(|mut of| of.next().is_some());
                let kept = staged.into_iter().flatten().filter(|(folder, _)| holds(folder));
                kept.for_each(|(folder, _)| drop(folder.keep()));
            }
            return Err(watched.failures.swap_remove(worst.unwrap_or(0)));
        }
        if stop.asked() {
            return Ok(None);
        }
        let replace = options.overwrite() || options.resume();
        for (target, (_folder, file)) in self.targets().zip(staged.iter().flatten()) {
            target.name(file, replace)?;
        }
        Ok(Some(watched.report.map_or(0, |report| report.frames())))
    }
}

impl Target {
    /// A hidden folder in the folder, and the file in it.
    fn stage(&self) -> Result<(TempDir, PathBuf)> {
        let made = fs::create_dir_all(&self.folder)
            .and_then(|()| tempfile::Builder::new().prefix(".lanet-live.part-").tempdir_in(&self.folder));
        let staged = made.map_err(|cause| {
            let what = format!("cannot write to the folder '{}'", self.folder.display());
            Error::new(what).because(cause).of_kind(Kind::Output).advice("check its name and its rights")
        })?;
        let file = staged.path().join(self.below.file_name().unwrap_or_default());
        Ok((staged, file))
    }

    /// Gives what was made its name.
    fn name(&self, file: &Path, replace: bool) -> Result<()> {
        let place = self.folder.join(&self.below);
        let cannot = |cause| {
            let what = format!("cannot give '{}' its name", place.display());
            Error::new(what).because(cause).of_kind(Kind::Output).advice("check the rights of the folder")
        };
        fs::create_dir_all(place.parent().unwrap_or(&self.folder)).map_err(cannot)?;
        if file.is_dir() {
            let part = FolderPart::create(&place)?;
            fs::rename(file, part.path()).map_err(cannot)?;
            return part.finish();
        }
        let part = Part::create(&place, replace)?;
        fs::rename(file, part.path()).map_err(cannot)?;
        part.finish()
    }
}

/// All that decides what is read.
fn settings(options: &Options, fingerprint: &str) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": fingerprint,
        "prior": options.prior.map(|prior| format!("{prior:?}")),
        "person": options.person,
        "auto_neutral": options.auto_neutral(),
        "max_faces": options.max_faces,
        "smoothing": options.smoothing,
        "raw": options.raw.unwrap_or(false),
        "blur": options.blur(),
        "landmarks": options.landmarks,
        "mirror": options.mirror,
        "draw": options.draw.as_ref().map(|parts| format!("{parts:?}")),
        "start": options.start,
        "end": options.end,
        "frames": options.frames,
    })
}

/// A file in a folder that is none of ours, but could be the result of another input.
fn other(folder: &Path, ours: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    let is_alike = |path: &Path| ours.iter().any(|our| our.extension() == path.extension());
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter(|path| !ours.contains(path)).find_map(|path| match path.is_dir() {
        true => other(&path, ours),
        false => (is_alike(&path) && path.file_name() != Some(SETTINGS.as_ref())).then_some(path),
    })
}

/// Refuses a folder in which somebody has written what other settings say, unless all of that may be replaced.
fn agree(folder: &Path, settings: &Value, replaced: Option<&BTreeSet<PathBuf>>) -> Result<()> {
    let (file, replace) = (folder.join(SETTINGS), replaced.is_some());
    let text = || fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    if let (Some(ours), Some(before)) = (replaced, text())
        && before != *settings
        && let Some(other) = other(folder, ours)
    {
        let line = format!("'{}' was made with other settings, and is not of these inputs", other.display());
        return Err(Error::new(line)
            .of_kind(Kind::Output)
            .advice("choose another folder, or give all inputs"));
    }
    if !file.exists() || replace {
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder '{}' cannot be made", folder.display()))?;
        let written = part::write(&file, replace, format!("{settings:#}\n"));
        // Another run of the same kind may have been faster.
        if text().as_ref() != Some(settings) {
            written?;
        }
    }
    let Some(there) = text() else {
        return Err(Error::new(format!("'{}' does not say what was asked for", file.display()))
            .of_kind(Kind::Output)
            .advice("choose another folder, or allow overwriting with -y"));
    };
    match settings.as_object().into_iter().flatten().find(|(key, value)| there.get(key) != Some(value)) {
        None => Ok(()),
        Some((key, value)) => Err(Error::new(format!(
            "'{}' has results of another run: {key} was {} and is {value}",
            folder.display(),
            there.get(key).unwrap_or(&Value::Null)
        ))
        .of_kind(Kind::Output)
        .advice("choose another folder, or allow overwriting with -y")),
    }
}
