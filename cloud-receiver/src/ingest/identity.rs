//! Who a connection belongs to: read from its certificate, never from what it says.

use wire::DeviceId;
use x509_parser::extensions::GeneralName;

/// The device that a certificate names in its subject alternative name. The chain was verified by TLS; a
/// certificate of ours that names anything but exactly one device is nobody's.
pub fn device_of(certificate: &[u8]) -> Option<DeviceId> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => wire::enroll::device_from_uri(uri),
        _ => None,
    }
}
