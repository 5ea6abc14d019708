//! What can be wrong with what a caller asks of a tunnel.

/// Each variant names the value that is wrong, and the remedy; none carries a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key's text is neither base64 nor hexadecimal of 32 bytes.
    #[error(
        "{kind} key: {problem}; a key is 32 bytes as 44 characters of base64 (what `wg genkey` prints) or 64 hexadecimal digits"
    )]
    Key {
        /// "private", "public" or "preshared".
        kind: &'static str,
        /// What is wrong, without the text itself: it may be a secret.
        problem: &'static str,
    },
    /// More peers than receiver indices.
    #[error("too many peers: a device holds at most {0}")]
    TooManyPeers(usize),
}
