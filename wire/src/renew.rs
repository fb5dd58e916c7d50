//! Renewing a device's TLS certificate while the old one is still good.
//!
//! `POST /device/v1/renew` over mutual TLS: who asks is who the connection's certificate names. The device makes a
//! new key for every request; the record key is not touched, so that nothing that was signed is signed anew.

use crate::time::UtcMicros;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewRequest {
    /// PKCS#10 request for the new TLS key (RFC 2986), PEM. Its names are ignored: the receiver sets them.
    pub csr_pem: String,
    pub agent_version: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewResponse {
    /// The new certificate, PEM. The old one stays good until it expires: the device may yet fall back on it.
    pub certificate_pem: String,
    /// What the device trusts from now on, PEM: the CA that signed the certificate. It may be another than before.
    pub ca_pem: String,
    pub receiver_time_us: UtcMicros,
}
