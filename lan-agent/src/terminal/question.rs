//! Questions of the agent, asked at the terminal one after the other.

use tokio::sync::mpsc;

use super::{Console, bytes, display};
use crate::agent::event::{Trust, Who};
use crate::agent::question::{ANSWER_TIMEOUT, Answer, Asked, Question};

/// Asks what comes until nobody can ask any more. With `yes`, what a person would mostly agree to is agreed to:
/// everything except pictures, which only eyes can compare.
pub async fn answer_questions(console: Console, mut questions: mpsc::Receiver<Asked>, yes: bool) {
    while let Some(Asked { question, mut reply }) = questions.recv().await {
        if reply.is_closed() {
            continue;
        }
        let answer = tokio::select! {
            answer = answer(&console, &question, yes) => answer,
            () = reply.closed() => {
                console.say("No longer needed.");
                continue;
            }
        };
        // The asker may have gone in this very moment.
        let _ = reply.send(answer);
    }
}

/// Asks one question. Dropping the future takes it off the screen.
pub async fn answer(console: &Console, question: &Question, yes: bool) -> Answer {
    match question {
        Question::Offer { who, files, total_bytes, first, folder, free_bytes, may_remember } => {
            console.say(&format!(
                "{} wants to send {} ({}).",
                describe(who),
                if *files == 1 { "1 file".to_owned() } else { format!("{files} files") },
                bytes(*total_bytes)
            ));
            for file in first {
                console.say(&format!(
                    "  {:<44} {:>9}",
                    super::shorten(&display(&file.path), 44),
                    bytes(file.size_bytes)
                ));
            }
            let more = files.saturating_sub(u64::try_from(first.len()).unwrap_or(u64::MAX));
            if more > 0 {
                console.say(&format!("  and {more} more"));
            }
            console.say(&format!("Into {}, {} free.", display(folder), bytes(*free_bytes)));
            yes_or_no(console, "Accept?", yes, *may_remember).await
        }
        Question::Receiver { who, what, may_remember } => {
            console.say(&format!("{} is here.", describe(who)));
            yes_or_no(console, &format!("Send {}?", display(what)), yes, *may_remember).await
        }
        Question::Remember { who } => {
            console
                .say(&format!("{} wants to be remembered, so that the two meet again by themselves.", describe(who)));
            // Nobody is remembered without a person who says so.
            if yes { Answer::No } else { no_or_yes(console, "Remember it too? [y/N]").await }
        }
        Question::PickPictures { name, rows } => {
            console.say(&format!("{} wants to connect. Which row is on its screen?", display(name)));
            for (number, row) in rows.iter().enumerate() {
                console.say(&format!("  {}  {row}", number + 1));
            }
            pick(console, rows.len()).await
        }
        Question::ShowPictures { name, row } => {
            console.say(&format!("Pick this row on {}:", display(name)));
            console.say(&format!("     {row}"));
            yes_or_no(console, "Is it one of the rows there?", false, false).await
        }
    }
}

async fn no_or_yes(console: &Console, prompt: &str) -> Answer {
    loop {
        let Some(line) = console.ask_line(prompt, ANSWER_TIMEOUT).await else { return Answer::NoAnswer };
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Answer::Yes,
            "" | "n" | "no" => return Answer::No,
            _ => console.complain("Type y or n."),
        }
    }
}

async fn yes_or_no(console: &Console, prompt: &str, yes: bool, may_remember: bool) -> Answer {
    let prompt = &format!("{prompt} {}", if may_remember { "[Y/n, r = yes and remember it]" } else { "[Y/n]" });
    if yes {
        console.say(&format!("{prompt} yes"));
        return Answer::Yes;
    }
    loop {
        let Some(line) = console.ask_line(prompt, ANSWER_TIMEOUT).await else { return Answer::NoAnswer };
        match line.trim().to_ascii_lowercase().as_str() {
            "" | "y" | "yes" => return Answer::Yes,
            "n" | "no" => return Answer::No,
            "r" | "remember" if may_remember => return Answer::YesAndRemember,
            _ => console.complain(if may_remember { "Type y, n or r." } else { "Type y or n." }),
        }
    }
}

async fn pick(console: &Console, rows: usize) -> Answer {
    let prompt = format!("1 to {rows}, or 0 if none is the same:");
    loop {
        let Some(line) = console.ask_line(&prompt, ANSWER_TIMEOUT).await else { return Answer::NoAnswer };
        match line.trim().parse::<u8>() {
            Ok(0) => return Answer::No,
            Ok(number) if usize::from(number) <= rows => return Answer::Picked(number - 1),
            Ok(_) | Err(_) => console.complain(&format!("Type a number from 0 to {rows}.")),
        }
    }
}

/// The device's name, safe to print, and how sure we are of it.
pub(crate) fn describe(who: &Who) -> String {
    let trust = match who.trust {
        Trust::Scanned => "scanned",
        Trust::Code => "code",
        Trust::Compared => "compared",
        Trust::Remembered => "remembered",
    };
    format!("{} ({trust})", display(&who.name))
}
