//! Where machines put what is to be done and said.

use std::collections::VecDeque;

use lanyard_protocol::control::ControlMessage;

use crate::output::{Event, Output};

/// Outputs and messages in the order they came up. Both are drained by the shell after every input; what one input can
/// add is bounded by the manifest, and long lists are not kept here but made when there is room on the link.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) messages: VecDeque<ControlMessage>,
    pub(crate) link_is_up: bool,
}

impl Outbox {
    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Says something on the link. Without one it is lost: whatever matters is said again when the next link comes.
    pub(crate) fn say(&mut self, message: ControlMessage) {
        if self.link_is_up {
            self.messages.push_back(message);
        }
    }
}
