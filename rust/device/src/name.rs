//! The name of an interface, checked once.

use std::fmt;

use crate::error::Error;

/// Bytes that the kernel has for a name, with the zero at its end (`IFNAMSIZ`).
pub(crate) const SIZE: usize = libc::IFNAMSIZ;

/// A name that is safe in a path and that wg-quick accepts too: `[a-zA-Z0-9_=+.-]{1,15}`, but
/// neither "." nor "..".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceName(String);

impl InterfaceName {
    pub(crate) fn parse(name: &str) -> Result<Self, Error> {
        let problem = if name.is_empty() {
            "it is empty"
        } else if name.len() >= SIZE {
            "it is too long"
        } else if name == "." || name == ".." {
            "it means a directory"
        } else if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_=+.-".contains(&byte))
        {
            "it has a character that is not allowed"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(Error::Name {
            name: name.to_owned(),
            problem,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_names_pass() {
        for name in ["wg0", "a", "Aa0_=+.-", "fifteen-letters", "..."] {
            assert_eq!(InterfaceName::parse(name).expect(name).as_str(), name);
        }
        for name in [
            "",
            ".",
            "..",
            "sixteen-letters!",
            "sixteen-letters-",
            "a/b",
            "a b",
            "wg%d",
            "ü",
            "a\n",
        ] {
            let message = InterfaceName::parse(name).expect_err(name).to_string();
            assert!(message.starts_with("interface name "), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
