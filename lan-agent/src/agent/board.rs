//! Open questions, so that they can be answered from another terminal than the agent's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::question::{Answer, Asked, Question};

/// The questions that wait for an answer, by number.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    last: u64,
    questions: BTreeMap<u64, (Question, oneshot::Sender<Answer>)>,
}

impl Board {
    /// What waits now, the oldest first.
    #[must_use]
    pub fn open(&self) -> Vec<(u64, Question)> {
        self.lock().questions.iter().map(|(number, (question, _))| (*number, question.clone())).collect()
    }

    /// Answers a question; `false` when it waits no more.
    #[must_use]
    pub fn answer(&self, number: u64, answer: Answer) -> bool {
        let waiting = self.lock().questions.remove(&number);
        waiting.is_some_and(|(_, reply)| reply.send(answer).is_ok())
    }

    /// Shows every question at this terminal too. Whoever answers first decides; where nobody reads this terminal, a
    /// question waits as long as its asker does.
    pub async fn run(self, mut questions: mpsc::Receiver<Asked>, terminal: mpsc::Sender<Asked>) {
        while let Some(Asked { question, reply }) = questions.recv().await {
            let (elsewhere, answered_elsewhere) = oneshot::channel();
            let number = {
                let mut open = self.lock();
                open.last += 1;
                let number = open.last;
                open.questions.insert(number, (question.clone(), elsewhere));
                number
            };
            let (here, answered_here) = oneshot::channel();
            // A full terminal queue leaves the question to the others.
            let _ = terminal.try_send(Asked { question, reply: here });
            let board = self.clone();
            tokio::spawn(async move {
                board.wait(reply, answered_here, answered_elsewhere).await;
                board.lock().questions.remove(&number);
            });
        }
    }

    async fn wait(
        &self,
        mut reply: oneshot::Sender<Answer>,
        here: oneshot::Receiver<Answer>,
        elsewhere: oneshot::Receiver<Answer>,
    ) {
        let decided_here = async {
            match here.await {
                Ok(Answer::NoAnswer) | Err(_) => std::future::pending().await,
                Ok(answer) => answer,
            }
        };
        tokio::select! {
            answer = decided_here => drop(reply.send(answer)),
            Ok(answer) = elsewhere => drop(reply.send(answer)),
            () = reply.closed() => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Each change is one step, so the map is whole whoever panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::Asker;
    use super::*;

    fn question() -> Question {
        Question::ShowPictures { name: "Ana".to_owned(), row: "fox".to_owned() }
    }

    #[tokio::test]
    async fn whoever_answers_first_decides_and_the_question_goes_from_the_terminal() {
        let board = Board::default();
        let (asker, questions) = Asker::channel();
        let (terminal, mut shown) = mpsc::channel(4);
        tokio::spawn(board.clone().run(questions, terminal));
        let asking = tokio::spawn(async move { asker.ask(question()).await });
        let mut at_terminal = shown.recv().await.unwrap();
        assert_eq!(board.open(), [(1, question())]);
        assert!(board.answer(1, Answer::Yes));
        assert_eq!(asking.await.unwrap(), Answer::Yes);
        at_terminal.reply.closed().await;
        assert!(!board.answer(1, Answer::No), "it waits no more");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_reader_at_the_terminal_a_question_is_held_for_a_minute() {
        let board = Board::default();
        let (asker, questions) = Asker::channel();
        let (terminal, mut shown) = mpsc::channel(4);
        tokio::spawn(board.clone().run(questions, terminal));
        let begun = tokio::time::Instant::now();
        let asking = tokio::spawn(async move { asker.ask(question()).await });
        shown.recv().await.unwrap().reply.send(Answer::NoAnswer).unwrap();
        assert_eq!(asking.await.unwrap(), Answer::NoAnswer);
        assert_eq!(begun.elapsed().as_secs(), 60);
        while !board.open().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
