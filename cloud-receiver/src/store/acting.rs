//! What the operators' area of the portal asks of the store, in the name of the operator who is signed in.

use super::{
    AccountBooks, Actor, Administration, AuditBook, ContractBook, DeviceFileBook, OperatorDesk,
};
use std::sync::Arc;

/// All that an operator may do from the portal.
pub trait OperatorsStore:
    Administration + AccountBooks + AuditBook + ContractBook + DeviceFileBook + OperatorDesk
{
}

impl<T> OperatorsStore for T where
    T: Administration + AccountBooks + AuditBook + ContractBook + DeviceFileBook + OperatorDesk
{
}

/// Gives a handle through which everything that is done is noted as done by somebody.
pub trait Acting: Send + Sync {
    fn acting(&self, actor: Actor) -> Arc<dyn OperatorsStore>;
}
