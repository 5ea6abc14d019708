//! The arithmetic of answering an initiation, apart from the tunnel: another thread may do it while
//! the worker goes on with data.
//!
//! Of some 200 microseconds that an answer takes, a sixth finds out who the initiation claims to be
//! from, and so all of what a stranger's costs. The rest needs the peer's `Tunn`, which cannot be
//! away from the worker while it has a session; for a peer without one it is made on the way.

use std::sync::Arc;

use boringtun::noise::{Tunn, TunnResult};

use crate::constants::{HANDSHAKE_INITIATION_SIZE, HANDSHAKE_RESPONSE_SIZE};
use crate::handshakes::Initiation;
use crate::identity::Identity;
use crate::key::{PresharedKey, PublicKey};

/// An initiation on its way to an answer.
pub struct Errand {
    pub(crate) identity: Arc<Identity>,
    pub(crate) initiation: Initiation,
    pub(crate) task: Task,
}

/// What is to be found out, or was.
pub(crate) enum Task {
    /// Whose initiation it claims to be.
    Identify,
    Identified(Option<PublicKey>),
    /// The answer of a peer that has no tunnel yet, which gets this index.
    Answer(Answerer),
    Answered(u32, Option<Answer>),
}

/// What a peer's new tunnel is made of.
pub(crate) struct Answerer {
    pub(crate) public_key: PublicKey,
    pub(crate) preshared_key: Option<PresharedKey>,
    pub(crate) last_initiation: Option<Box<[u8; HANDSHAKE_INITIATION_SIZE]>>,
    pub(crate) index: u32,
}

/// A tunnel that has answered an initiation.
pub(crate) struct Answer {
    pub(crate) tunn: Box<Tunn>,
    pub(crate) response: [u8; HANDSHAKE_RESPONSE_SIZE],
}

impl Errand {
    /// Does the arithmetic: some ten or hundred microseconds of it.
    pub fn run(&mut self) {
        let message = &self.initiation.message;
        match &self.task {
            Task::Identify => self.task = Task::Identified(self.identity.initiator(message)),
            Task::Answer(answerer) => {
                let answer = answerer.answer(&self.identity, message);
                self.task = Task::Answered(answerer.index, answer);
            }
            Task::Identified(_) | Task::Answered(..) => {}
        }
    }
}

impl Answerer {
    pub(crate) fn tunn(&self, identity: &Identity) -> Box<Tunn> {
        let mut tunn = Box::new(Tunn::new(
            identity.private_key().as_secret().clone(),
            self.public_key.to_x25519(),
            self.preshared_key.as_ref().map(|key| *key.reveal()),
            None, // persistent keepalives are ours: boringtun's give up after 90 s
            self.index,
            Some(identity.unlimited()),
        ));
        // A new tunnel knows of no initiation, and would take an old one. There is no other way to
        // tell it; no preshared key is in an initiation. The response goes nowhere, so that nobody
        // has the keys of the session that boringtun makes of it.
        if let Some(initiation) = &self.last_initiation {
            let mut room = [0; HANDSHAKE_INITIATION_SIZE];
            let _ = tunn.decapsulate(None, &initiation[..], &mut room);
        }
        tunn
    }

    fn answer(&self, identity: &Identity, message: &[u8]) -> Option<Answer> {
        let mut tunn = self.tunn(identity);
        let mut room = [0; HANDSHAKE_INITIATION_SIZE];
        match tunn.decapsulate(None, message, &mut room) {
            TunnResult::WriteToNetwork(response) => Some(Answer {
                response: (*response).try_into().ok()?,
                tunn,
            }),
            _ => None,
        }
    }
}
