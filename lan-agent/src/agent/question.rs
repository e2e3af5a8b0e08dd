//! What the agent asks a person, and the way an answer comes back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::event::{Event, Who};

/// How long a person has to answer, unless the configuration says less.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Questions that wait at once. More are answered "no answer" at once.
const WAITING_QUESTIONS: usize = 16;

/// One file of an offer, for showing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedFile {
    /// Path within the offer: hostile text.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
}

/// Something only a person can decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "snake_case")]
pub enum Question {
    /// Take these files?
    Offer {
        /// From whom.
        #[serde(flatten)]
        who: Who,
        /// How many files.
        files: u64,
        /// All together.
        total_bytes: u64,
        /// The first few.
        first: Vec<OfferedFile>,
        /// Where they would go.
        folder: String,
        /// Free there now.
        free_bytes: u64,
        /// Whether the person may say that the device is to be remembered.
        #[serde(default)]
        may_remember: bool,
    },
    /// This device came: send to it?
    Receiver {
        /// Who came.
        #[serde(flatten)]
        who: Who,
        /// What would be sent, in words.
        what: String,
        /// Whether the person may say that the device is to be remembered.
        #[serde(default)]
        may_remember: bool,
    },
    /// This device wants to be remembered: remember it too?
    Remember {
        /// Which.
        #[serde(flatten)]
        who: Who,
    },
    /// Which of three rows is on the other device's screen?
    PickPictures {
        /// What the other device calls itself: hostile text.
        name: String,
        /// Each four pictures with their spoken names.
        rows: Vec<String>,
    },
    /// The other device's person picks this row out of three. Shown until they did.
    ShowPictures {
        /// What the other device calls itself: hostile text.
        name: String,
        /// Four pictures with their spoken names.
        row: String,
    },
}

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes.
    Yes,
    /// Yes, and remember the device.
    YesAndRemember,
    /// No.
    No,
    /// A row of pictures, from 0.
    Picked(u8),
    /// Nobody was there to answer, or not in time.
    NoAnswer,
}

/// A question on its way to a person.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub question: Question,
    /// Takes the answer. Closed when nobody needs it any more: then the question is taken off the screen.
    pub reply: oneshot::Sender<Answer>,
}

/// Where questions go, and what a person should know while they are asked.
#[derive(Debug, Clone)]
pub struct Asker {
    questions: mpsc::Sender<Asked>,
    events: Option<broadcast::Sender<Event>>,
    patience: Duration,
}

impl Asker {
    /// A way to ask, and the end that shows the questions.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(WAITING_QUESTIONS);
        (Self { questions: sender, events: None, patience: ANSWER_TIMEOUT }, receiver)
    }

    /// The same, and what happens meanwhile is told as an event.
    #[must_use]
    pub fn with_events(self, events: broadcast::Sender<Event>) -> Self {
        Self { events: Some(events), ..self }
    }

    /// The same, and a person has so long to answer; never longer than [`ANSWER_TIMEOUT`].
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: patience.min(ANSWER_TIMEOUT), ..self }
    }

    /// Says something that needs no answer; nobody has to listen.
    pub fn warn(&self, message: String) {
        if let Some(events) = &self.events {
            let _ = events.send(Event::Warning { message });
        }
    }

    /// Asks and waits as long as a person has. Dropping the future withdraws the question.
    pub async fn ask(&self, question: Question) -> Answer {
        let (reply, answer) = oneshot::channel();
        if self.questions.try_send(Asked { question, reply }).is_err() {
            return Answer::NoAnswer;
        }
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Answer::NoAnswer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question::ShowPictures { name: "Ana".to_owned(), row: "fox boat cactus dice".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_nobody_answers_ends_after_a_minute() {
        let (asker, _questions) = Asker::channel();
        let asked = tokio::time::Instant::now();
        assert_eq!(asker.ask(question()).await, Answer::NoAnswer);
        assert_eq!(asked.elapsed(), ANSWER_TIMEOUT);
    }

    #[tokio::test]
    async fn a_withdrawn_question_is_seen_as_closed() {
        let (asker, mut questions) = Asker::channel();
        let asking = tokio::spawn(async move { asker.ask(question()).await });
        let mut asked = questions.recv().await.unwrap();
        asking.abort();
        asked.reply.closed().await;
    }

    #[tokio::test]
    async fn too_many_questions_are_answered_at_once() {
        let (asker, questions) = Asker::channel();
        let waiting: Vec<_> = (0..WAITING_QUESTIONS)
            .map(|_| {
                let asker = asker.clone();
                tokio::spawn(async move { asker.ask(question()).await })
            })
            .collect();
        while questions.len() < WAITING_QUESTIONS {
            tokio::task::yield_now().await;
        }
        assert_eq!(asker.ask(question()).await, Answer::NoAnswer);
        drop(waiting);
    }
}
