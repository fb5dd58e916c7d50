//! What a device may do on the MQTT endpoint, decided without I/O: its own topics, under its own name.

use super::codec::Greeting;
use crate::ingest::identity::Presented;
use crate::ingest::intake;
use crate::store::DeviceRow;
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, SubackReasonCode};
use wire::DeviceId;
use wire::topic::{Channel, Topic};

/// Whether a device whose certificate was verified is let in, by what is on file and what it asks for.
pub(super) fn admit(
    presented: &Presented,
    row: Option<&DeviceRow>,
    greeting: &Greeting,
) -> Result<(), ConnectReasonCode> {
    let device = presented.device;
    if !row.is_some_and(|row| is_in_service(row, presented)) {
        return Err(ConnectReasonCode::NotAuthorized);
    }
    if greeting.wants_authentication {
        return Err(ConnectReasonCode::BadAuthenticationMethod);
    }
    if greeting.client_id != device.to_string() {
        return Err(ConnectReasonCode::ClientIdentifierNotValid);
    }
    let own_will = Topic {
        device,
        channel: Channel::UpOffline,
    };
    match &greeting.will_topic {
        Some(topic) if *topic != own_will.to_string() => Err(ConnectReasonCode::NotAuthorized),
        _ => Ok(()),
    }
}

pub(super) fn is_in_service(row: &DeviceRow, presented: &Presented) -> bool {
    intake::turned_away(row, presented).is_none()
}

/// The channel behind a topic that this device may publish to.
pub(super) fn may_publish(device: DeviceId, topic: &str) -> Option<Channel> {
    own_channel(device, topic).filter(|channel| channel.is_up())
}

/// The channel behind a filter that this device may subscribe to, or the reason why not. Wildcards never name
/// only what is the device's own, so there is none that may be used.
pub(super) fn may_subscribe(device: DeviceId, filter: &str) -> Result<Channel, SubackReasonCode> {
    if filter.starts_with("$share/") {
        return Err(SubackReasonCode::SharedSubscriptionsNotSupported);
    }
    own_channel(device, filter)
        .filter(|channel| !channel.is_up())
        .ok_or(SubackReasonCode::NotAuthorized)
}

fn own_channel(device: DeviceId, topic: &str) -> Option<Channel> {
    let topic: Topic = topic.parse().ok()?;
    (topic.device == device).then_some(topic.channel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::Certificate;
    use uuid::Uuid;
    use wire::{ContractId, EnrollmentId, SigningKey, SiteId, UtcMicros};

    const OWN: DeviceId = DeviceId(Uuid::from_u128(1));
    const FOREIGN: DeviceId = DeviceId(Uuid::from_u128(2));

    fn topic(device: DeviceId, channel: Channel) -> String {
        Topic { device, channel }.to_string()
    }

    #[test]
    fn only_own_topics_and_only_in_their_direction() {
        for channel in Channel::ALL {
            let own = topic(OWN, channel);
            let foreign = topic(FOREIGN, channel);
            assert_eq!(
                may_publish(OWN, &own),
                channel.is_up().then_some(channel),
                "{own}"
            );
            assert_eq!(may_subscribe(OWN, &own).is_ok(), !channel.is_up(), "{own}");
            assert_eq!(may_publish(OWN, &foreign), None);
            assert_eq!(
                may_subscribe(OWN, &foreign),
                Err(SubackReasonCode::NotAuthorized)
            );
        }
        let own = topic(OWN, Channel::DownReceipt);
        for filter in ["#", "caas/v1/+/down/receipt", "", "$SYS/#"] {
            assert_eq!(
                may_subscribe(OWN, filter),
                Err(SubackReasonCode::NotAuthorized)
            );
        }
        assert_eq!(
            may_subscribe(OWN, &format!("$share/group/{own}")),
            Err(SubackReasonCode::SharedSubscriptionsNotSupported)
        );
    }

    #[test]
    fn admission_is_by_file_name_and_will() {
        let row = DeviceRow {
            device: OWN,
            contract: ContractId(Uuid::from_u128(3)),
            site: SiteId(Uuid::from_u128(4)),
            record_key: SigningKey::from_seed([1; 32]).verifying_key(),
            revoked_us: None,
            certificate: Default::default(),
            heard_us: None,
            heartbeat: None,
        };
        let revoked = DeviceRow {
            revoked_us: Some(UtcMicros(1)),
            ..row.clone()
        };
        let presented = Presented {
            device: OWN,
            certificate: row.certificate,
        };
        let enrolled_again = DeviceRow {
            certificate: Certificate {
                enrollment: EnrollmentId(Uuid::from_u128(6)),
                ..row.certificate
            },
            ..row.clone()
        };
        let good = Greeting {
            client_id: OWN.to_string(),
            will_topic: Some(topic(OWN, Channel::UpOffline)),
            keep_alive_seconds: 60,
            wants_authentication: false,
        };
        let will = |topic: String| Greeting {
            will_topic: Some(topic),
            ..good.clone()
        };
        let name = |client_id: String| Greeting {
            client_id,
            ..good.clone()
        };
        let cases = [
            (Some(&row), good.clone(), Ok(())),
            (None, good.clone(), Err(ConnectReasonCode::NotAuthorized)),
            (
                Some(&revoked),
                good.clone(),
                Err(ConnectReasonCode::NotAuthorized),
            ),
            (
                Some(&enrolled_again),
                good.clone(),
                Err(ConnectReasonCode::NotAuthorized),
            ),
            (
                Some(&row),
                name(FOREIGN.to_string()),
                Err(ConnectReasonCode::ClientIdentifierNotValid),
            ),
            (
                Some(&row),
                name(String::new()),
                Err(ConnectReasonCode::ClientIdentifierNotValid),
            ),
            (
                Some(&row),
                will(topic(FOREIGN, Channel::UpOffline)),
                Err(ConnectReasonCode::NotAuthorized),
            ),
            (
                Some(&row),
                will(topic(OWN, Channel::UpBatch)),
                Err(ConnectReasonCode::NotAuthorized),
            ),
            (
                Some(&row),
                Greeting {
                    wants_authentication: true,
                    ..good.clone()
                },
                Err(ConnectReasonCode::BadAuthenticationMethod),
            ),
        ];
        for (row, greeting, expected) in cases {
            assert_eq!(admit(&presented, row, &greeting), expected, "{greeting:?}");
        }
    }
}
