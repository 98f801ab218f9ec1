//! Patients with their phones: they answer what they get, and write by themselves.

use crate::{
    deeds::{Deeds, count},
    needles::MARK,
    outside::{Outside, text},
};
use chartwire::{
    kernel::{SeededEntropy, entropy::below},
    sandbox::clinic::{PHONE, Person, persona},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet};

/// How the patients behave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// They answer this way and that, and write unasked.
    Busy,
    /// They answer simply, so that every question ends; each new number has them answer one of the last once more.
    Ending(u32),
    /// They put their phones away.
    Over,
}

/// How often a patient looks at the phone, in milliseconds.
const LOOKS: (u64, u64) = (300, 900);
/// How many of the texts that asked for something a patient goes back over.
const LOOKS_BACK: usize = 4;
/// Of a hundred looks so many end in words that nobody asked for.
const UNASKED: u64 = 12;
/// Who says STOP and START again and again.
const FICKLE: &str = "patient-victor-lam";

/// A patient with a phone.
pub(crate) struct Phone {
    pub(crate) outside: Outside,
    pub(crate) person: &'static Person,
    pub(crate) deeds: Arc<Deeds>,
    pub(crate) chance: SeededEntropy,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Phone {
    /// Lives until the phase is over and every text that was written has been answered or given up by the service.
    pub(crate) async fn live(mut self) {
        let mut seen = 0;
        let mut nudged = 0;
        let mut asked: Vec<String> = Vec::new();
        let mut writing = JoinSet::new();
        loop {
            let pause = LOOKS.0 + below(&self.chance, LOOKS.1 - LOOKS.0);
            let _ = tokio::time::timeout(Duration::from_millis(pause), self.phase.changed()).await;
            let phase = *self.phase.borrow();
            match phase {
                Phase::Over => break,
                Phase::Ending(nudge) if nudge > nudged => {
                    nudged = nudge;
                    if let Some(answer) = self.once_more(&asked, nudge) {
                        self.write(&mut writing, answer);
                    }
                }
                _ => {}
            }
            let Ok(texts) = self.outside.on_phone(self.person.phone).await else { continue };
            let received: Vec<&str> =
                texts.iter().filter(|one| text(one, "/direction") != "inbound").map(|one| text(one, "/body")).collect();
            for body in received.iter().skip(seen) {
                if body.contains("Reply") || body.contains("Responda") {
                    asked.push((*body).to_owned());
                }
                if let Some(answer) = self.answer(body, phase == Phase::Busy) {
                    self.write(&mut writing, answer);
                }
            }
            seen = received.len();
            if phase == Phase::Busy && below(&self.chance, 100) < UNASKED {
                let words = self.unasked();
                self.write(&mut writing, words);
            }
        }
        while writing.join_next().await.is_some() {}
    }

    /// What a patient says who goes back over the thread: texts may have overtaken each other, so the one that still
    /// waits for an answer need not be the last. A "C" to what asks for nothing in particular, so that the next question
    /// may come.
    fn once_more(&self, asked: &[String], nudge: u32) -> Option<String> {
        let back = usize::try_from(nudge).unwrap_or(0) % LOOKS_BACK.min(asked.len().max(1));
        let body = asked.iter().rev().nth(back)?;
        Some(self.answer(body, false).unwrap_or("C".to_owned()))
    }

    fn write(&self, writing: &mut JoinSet<()>, words: String) {
        count(&self.deeds.written);
        let (outside, phone) = (self.outside.clone(), self.person.phone);
        writing.spawn(async move {
            // The sandbox is always there; whether the service was, its books say.
            if let Err(error) = outside.write(phone, PHONE, &words).await {
                eprintln!("a text could not be written: {error:#}");
            }
        });
    }

    /// What the patient makes of a text.
    fn answer(&self, body: &str, freely: bool) -> Option<String> {
        let chance = if freely { below(&self.chance, 100) } else { 0 };
        let english = self.person.language == "en";
        let has = |words: &str| body.contains(words);
        let answer = if has("Open time") || has("Open now") || has("libre") {
            match chance {
                0..70 => "1",
                70..85 => "2",
                85..95 => "N",
                _ => "any day but Friday",
            }
        } else if has("Reply YES") || has("Responda SI") || has("Responda S\u{cd}") {
            match (chance < 70, english) {
                (false, _) => "R",
                (true, true) => "YES",
                (true, false) => "SI",
            }
        } else if has("Reply C") || has("Responda C") {
            match chance {
                0..45 => "C",
                45..85 => "R",
                85..93 if english => "I need to cancel my visit",
                _ => "my knee is a little swollen since yesterday",
            }
        } else {
            return None;
        };
        Some(answer.to_owned())
    }

    fn unasked(&self) -> String {
        let number = below(&self.chance, 100_000);
        if self.person.id == FICKLE {
            return if number.is_multiple_of(2) { "STOP" } else { "START" }.to_owned();
        }
        match number % 8 {
            0 => "HELP".to_owned(),
            1 => "C".to_owned(),
            2 => "R".to_owned(),
            3 | 4 => format!("my back hurts a little since Monday, {MARK} {number}"),
            5 if self.person.id == persona::ANA_LOPEZ => "chest pain and I can't breathe".to_owned(),
            _ => format!("when do you open tomorrow? {MARK} {number}"),
        }
    }
}
