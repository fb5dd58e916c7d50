//! The two doors of the portal: the customers' and, below `/operator`, the operators'.
//!
//! Both are opened by the same code (`sign_in.rs`, `password.rs`); a door says which accounts are asked, and where
//! its pages are. Whose door a page is behind is told by its address alone.

use super::guard::local_path;
use super::visit::Who;
use crate::auth::session::Pending;
use crate::store::AccountKind;

const OPERATORS_PREFIX: &str = "/operator";

#[derive(Debug, PartialEq, Eq)]
pub struct Door {
    pub kind: AccountKind,
    pub home: &'static str,
    pub sign_in: &'static str,
    pub sign_out: &'static str,
    pub password: &'static str,
    pub second_factor: &'static str,
    /// Where one is told that the password was changed.
    pub password_changed: &'static str,
}

pub static CUSTOMERS: Door = Door {
    kind: AccountKind::Customer,
    home: "/",
    sign_in: "/sign-in",
    sign_out: "/sign-out",
    password: "/password",
    second_factor: "/second-factor",
    password_changed: "/account?changed=1",
};

pub static OPERATORS: Door = Door {
    kind: AccountKind::Operator,
    home: "/operator",
    sign_in: "/operator/sign-in",
    sign_out: "/operator/sign-out",
    password: "/operator/password",
    second_factor: "/operator/second-factor",
    password_changed: "/operator?changed=1",
};

impl Door {
    /// The door that an address is behind.
    pub fn of_path(path: &str) -> &'static Self {
        match path.strip_prefix(OPERATORS_PREFIX) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => &OPERATORS,
            _ => &CUSTOMERS,
        }
    }

    pub fn of_kind(kind: AccountKind) -> &'static Self {
        match kind {
            AccountKind::Customer => &CUSTOMERS,
            AccountKind::Operator => &OPERATORS,
        }
    }

    /// Where to go after signing in: what was wanted if it is behind this door, else home.
    pub fn way_back<'a>(&'static self, wanted: &'a str) -> &'a str {
        let path = local_path(wanted);
        if path == wanted && Self::of_path(path) == self {
            path
        } else {
            self.home
        }
    }

    /// The one page for somebody who has come in half-way, and whether this address is open to them.
    pub fn next_step(&'static self, who: &Who, path: &str) -> Option<(&'static str, bool)> {
        let (page, others): (_, &[&str]) = match who.pending {
            Pending::Code => (self.second_factor, &[]),
            Pending::Enrolment => (self.second_factor, &["/begin", "/confirm"]),
            Pending::Nothing if who.must_change_password => (self.password, &[]),
            Pending::Nothing => return None,
        };
        let below = path.strip_prefix(page);
        let is_open = path == self.sign_out
            || below.is_some_and(|rest| rest.is_empty() || others.contains(&rest));
        Some((page, is_open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_behind_one_door() {
        for path in [
            "/operator",
            "/operator/",
            "/operator/sign-in",
            "/operator?changed=1",
        ] {
            assert_eq!(Door::of_path(path), &OPERATORS, "{path}");
        }
        for path in ["/", "/operators", "/events/operator", "/sign-in"] {
            assert_eq!(Door::of_path(path), &CUSTOMERS, "{path}");
        }
    }

    #[test]
    fn the_way_back_stays_behind_the_same_door() {
        assert_eq!(
            CUSTOMERS.way_back("/events?day=2026-11-22"),
            "/events?day=2026-11-22"
        );
        assert_eq!(
            OPERATORS.way_back("/operator/password"),
            "/operator/password"
        );
        for elsewhere in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
        ] {
            assert_eq!(CUSTOMERS.way_back(elsewhere), "/", "{elsewhere}");
            assert_eq!(OPERATORS.way_back(elsewhere), "/operator", "{elsewhere}");
        }
        assert_eq!(CUSTOMERS.way_back("/operator"), "/");
        assert_eq!(OPERATORS.way_back("/events"), "/operator");
    }
}
