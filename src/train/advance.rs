//! The events of a run, one after the other; none takes long, so that whoever waits can stop.

use std::ops::Range;
use std::time::Instant;

use candle_core::Tensor;

use super::batch::Look;
use super::events::{Epoch, Event};
use super::judge::Judgement;
use super::pictures::Augmentation;
use super::run::{Faces, Part, Running, Task, Training};
use super::state::Best;
use super::step::Losses;
use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::expression::COUNT;
use crate::net::LaNet;

/// Faces that are looked at between two events.
const TURN: usize = 16;

impl Iterator for Training {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        if self.failed {
            return None;
        }
        let event = self.advance();
        self.failed = event.is_err();
        event.transpose()
    }
}

impl Training {
    fn advance(&mut self) -> Result<Option<Event>> {
        loop {
            let event = match self.tasks.pop_front() {
                Some(Task::Settle { chosen, done }) => self.settle(chosen, done)?,
                Some(Task::Remember(part)) => self.remember(part)?,
                Some(Task::Learn(running)) => self.go_on(running)?,
                Some(Task::Judge { part, net, answers }) => self.ask(part, net, answers)?,
                None => match self.over.take() {
                    Some(epoch) => Some(Event::Epoch(epoch)),
                    None if !self.ready => {
                        self.ready = true;
                        Some(Event::Ready)
                    }
                    None if self.judges_its_start() => {
                        self.close(Epoch::default());
                        None
                    }
                    None if self.epoch() >= self.recipe().epochs => return Ok(None),
                    None => {
                        let running = self.begin_epoch();
                        self.tasks.push_front(Task::Learn(running));
                        None
                    }
                },
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// How faces are seen: as they are, for what is computed before and beside the steps.
    fn look(&self) -> Look {
        Look {
            input: self.recipe().input(),
            augmentation: Augmentation::NONE,
            maps: None,
            pictures: true,
            cutmix: 0.0,
        }
    }

    fn settle(&mut self, chosen: Vec<(usize, u64)>, done: usize) -> Result<Option<Event>> {
        let end = (done + TURN).min(chosen.len());
        let (look, lesson) = (self.look(), self.faces[Part::Train as usize].lesson.clone());
        let pictures = look.batch(&lesson, &chosen[done..end])?.pictures(&look.input, &self.device)?;
        self.net.measure(&mut self.state.weights, &pictures)?;
        let all = chosen.len();
        if end < all {
            self.tasks.push_front(Task::Settle { chosen, done: end });
        } else {
            self.net.settle(&mut self.state.weights)?;
            self.state.follow()?;
        }
        Ok(Some(Event::Work { what: "faces to settle the weights", done: end, all }))
    }

    fn remember(&mut self, part: Part) -> Result<Option<Event>> {
        let look = Look { augmentation: self.recipe().augmentation, ..self.look() };
        let Faces { lesson, remembered } = &mut self.faces[part as usize];
        let Some(memory) = remembered else { return Ok(None) };
        let (net, weights, device) = (&self.net, &mut self.state.weights, &self.device);
        let room = memory.add(lesson, &look, TURN, |batch| {
            net.frozen_part(weights, &batch.pictures(&look.input, device)?)
        })?;
        let (done, all) = memory.progress();
        if !room {
            *remembered = None;
            return Ok(None);
        }
        if done < all {
            self.tasks.push_front(Task::Remember(part));
        }
        Ok(Some(Event::Work { what: "faces through the frozen layers", done, all }))
    }

    /// The rate of a step, from 0, of the epoch under way.
    fn rate(&self, step: usize) -> f64 {
        let (recipe, steps) = (self.recipe(), self.steps());
        let done = (self.epoch() * steps + step) as f64 / (recipe.epochs * steps) as f64;
        recipe.rate * recipe.schedule.share(done)
    }

    fn begin_epoch(&mut self) -> Running {
        let recipe = self.recipe();
        let Faces { lesson, remembered } = &self.faces[Part::Train as usize];
        let look = Look {
            augmentation: recipe.augmentation,
            maps: self.net.map_side(recipe.side).map(|side| recipe.spots(side)),
            pictures: remembered.is_none(),
            cutmix: recipe.cutmix,
            ..self.look()
        };
        let (lesson, about) = (lesson.clone(), &mut self.state.about);
        let done = about.epoch as f64 / (about.recipe.epochs - 1).max(1) as f64;
        let order = about.recipe.order.draw(&self.classes, done, &mut about.rng);
        let batches = look.batches(lesson, &order, about.recipe.batch, &mut about.rng);
        Running { batches, began: Instant::now(), step: 0, losses: Losses::default() }
    }

    fn go_on(&mut self, mut running: Running) -> Result<Option<Event>> {
        let steps = self.steps();
        let Some(batch) = running.batches.next() else {
            self.end_epoch(running);
            return Ok(None);
        };
        let losses = self.learn(&batch?, self.rate(running.step), running.step + 1)?;
        running.step += 1;
        running.losses.add(&losses, 1.0 / steps as f64);
        let event = Event::Step { epoch: self.epoch() + 1, step: running.step, steps, losses };
        self.tasks.push_front(Task::Learn(running));
        Ok(Some(event))
    }

    fn end_epoch(&mut self, running: Running) {
        let rate = self.rate(running.step.saturating_sub(1));
        self.state.about.epoch += 1;
        self.close(Epoch {
            epoch: self.epoch(),
            losses: running.losses,
            rate,
            images: running.step * self.recipe().batch,
            took: running.began.elapsed(),
            mended: self.mended(),
            ..Epoch::default()
        });
    }

    /// Whether the start is one of the nets to choose from, and has not been judged.
    fn judges_its_start(&self) -> bool {
        let is_judged = self.best().is_some() || self.faces[Part::Valid as usize].lesson.is_empty();
        self.recipe().adapt && self.epoch() == 0 && !is_judged
    }

    /// Lets the network as it is now be judged, which ends an epoch.
    fn close(&mut self, mut epoch: Epoch) {
        for part in [Part::Valid, Part::Report] {
            if !self.faces[part as usize].lesson.is_empty() {
                self.tasks.push_back(Task::Judge { part, net: None, answers: Vec::new() });
            }
        }
        // Where nothing chooses the epoch, the last one is the best.
        if self.faces[Part::Valid as usize].lesson.is_empty() {
            epoch.best = true;
            self.state.about.best = Some(Best { epoch: epoch.epoch, score: 0.0 });
        }
        self.over = Some(epoch);
    }

    fn mended(&self) -> Option<f64> {
        self.recipe().lde?;
        let truth = &self.lesson().truth;
        let wrong = (0..self.classes.len()).filter(|&n| self.classes[n] != truth[n] as usize);
        let right: Vec<bool> = wrong.map(|n| self.state.bank.top(n) == truth[n] as usize).collect();
        let count = right.iter().filter(|&&right| right).count();
        (!right.is_empty()).then(|| count as f64 / right.len() as f64)
    }

    fn ask(
        &mut self,
        part: Part,
        mut net: Option<Box<LaNet>>,
        mut answers: Vec<[f32; COUNT]>,
    ) -> Result<Option<Event>> {
        let all = self.faces[part as usize].lesson.len();
        let next = answers.len()..(answers.len() + TURN).min(all);
        let logits = self.answer(part, &mut net, next)?.flatten_all()?.to_vec1::<f32>()?;
        answers.extend_from_slice(logits.as_chunks::<COUNT>().0);
        let done = answers.len();
        if done < all {
            self.tasks.push_front(Task::Judge { part, net, answers });
        } else {
            self.judge(part, answers)?;
        }
        Ok(Some(Event::Work { what: "faces judged", done, all }))
    }

    /// What the network in use, which is made if need be, says of some faces as they are: logits (B, C).
    fn answer(&self, part: Part, net: &mut Option<Box<LaNet>>, faces: Range<usize>) -> Result<Tensor> {
        let chosen: Vec<(usize, u64)> = faces.map(|n| (n, 0)).collect();
        let Faces { lesson, remembered } = &self.faces[part as usize];
        let look = Look { pictures: remembered.is_none(), ..self.look() };
        let batch = look.batch(lesson, &chosen)?;
        let used = match net.take() {
            Some(net) => net,
            None => Box::new(LaNet::from_model(&self.model("")?)?),
        };
        match remembered {
            Some(remembered) => net.insert(used).classify(&remembered.batch(&batch, &self.device)?),
            None => net.insert(used).forward(&batch.pictures(&look.input, &self.device)?),
        }
    }

    /// Writes down what came of a part.
    fn judge(&mut self, part: Part, answers: Vec<[f32; COUNT]>) -> Result<()> {
        if answers.iter().flatten().any(|x| !x.is_finite()) {
            return Err(Error::new(format!(
                "after epoch {} the network gives no numbers any more",
                self.epoch()
            ))
            .advice("begin again with a lower --rate; models of epochs before stay"));
        }
        let plain = Calibration::none("").expecting(None, self.learnt())?;
        let told: Vec<_> = answers.iter().map(|&logits| plain.apply(logits)).collect();
        let judgement = Judgement::of(&told, &self.faces[part as usize].lesson.truth);
        let Some(over) = &mut self.over else { return Ok(()) };
        if part == Part::Report {
            over.reported = Some(judgement.accuracy);
            return Ok(());
        }
        let score = judgement.accuracy;
        over.judgement = Some(judgement);
        // What was learnt and is no worse takes the place of the start.
        over.best = self
            .state
            .about
            .best
            .is_none_or(|best| score > best.score || best.epoch == 0 && score == best.score);
        if over.best {
            self.state.about.best = Some(Best { epoch: over.epoch, score });
        }
        self.judged = Some((judgement, answers));
        Ok(())
    }
}
