//! What the operator calls things: tags of sites, cameras and events, and names of cameras.

use super::{Result, TagRow, Tagged};
use async_trait::async_trait;
use serde::Serialize;
use wire::{CameraId, ContractId, DeviceId, EventId, SiteId, UtcMicros};

/// One camera, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CameraRow {
    pub id: CameraId,
    pub contract: ContractId,
    pub contract_name: String,
    pub site: SiteId,
    pub site_name: String,
    pub device: DeviceId,
    /// As pages show it: the operator's name for it, or else its device's.
    pub name: String,
    /// As its device calls it.
    pub device_name: String,
    /// As its device last said.
    pub state: String,
    pub tags: Vec<String>,
}

#[async_trait]
pub trait LabelBook: Send + Sync {
    /// `false`: it carried the tag before.
    async fn add_tag(
        &self,
        contract: ContractId,
        on: Tagged,
        tag: &str,
        at: UtcMicros,
    ) -> Result<bool>;
    /// `false`: it did not carry it.
    async fn remove_tag(
        &self,
        contract: ContractId,
        on: Tagged,
        tag: &str,
        at: UtcMicros,
    ) -> Result<bool>;
    /// Tags of sites and cameras, and of the newest events that carry each.
    async fn tag_rows(&self, contract: ContractId) -> Result<Vec<TagRow>>;
    /// Whose event it is. Ids of events are drawn by devices: only together with the contract are they unique.
    async fn contracts_of_event(&self, event: EventId) -> Result<Vec<ContractId>>;
    /// Calls a camera so; or, without a name, as its device does. `false`: there is no such camera.
    async fn name_camera(
        &self,
        camera: CameraId,
        name: Option<&str>,
        at: UtcMicros,
    ) -> Result<bool>;
    async fn cameras(&self) -> Result<Vec<CameraRow>>;
}
