//! What connections are made with. Exchanged whole while the uplink runs, when the certificate was renewed or the box
//! enrolled again: whoever connects next uses the new ones, and sessions under the old ones end in good order.

use crate::identity::Enrollment;
use crate::identity::certificate::Validity;
use crate::uplink::https::DeviceClient;
use crate::uplink::{FlooredTime, UplinkError, mqtt, tls};
use std::sync::Arc;
use wire::{DeviceId, UtcMicros};

#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) enrollment: Enrollment,
    pub(super) https: DeviceClient,
    pub(super) target: mqtt::Target,
    pub(super) validity: Option<Validity>,
}

impl Credentials {
    pub(super) fn new(
        device: DeviceId,
        enrollment: Enrollment,
        time: &FlooredTime,
    ) -> Result<Self, UplinkError> {
        let for_https = tls::device_config(&enrollment, time.clone(), tls::HTTP_ALPN)?;
        let for_mqtt = tls::device_config(&enrollment, time.clone(), &[])?;
        Ok(Self {
            https: DeviceClient::new(for_https, enrollment.device_url.clone())?,
            target: mqtt::Target {
                host: enrollment.mqtt_host.clone(),
                port: enrollment.mqtt_port,
                device,
                tls: Arc::new(for_mqtt),
            },
            validity: Validity::of(&enrollment.certificate_pem),
            enrollment,
        })
    }

    /// A receiver that let this certificate in cannot truthfully say that it has expired already.
    pub(super) fn can_be(&self, stated: UtcMicros) -> bool {
        self.validity
            .is_none_or(|validity| stated <= validity.until_us)
    }
}
