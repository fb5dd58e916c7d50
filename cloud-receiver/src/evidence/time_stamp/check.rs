//! The judgement of a time stamp: RFC 3161 sections 2.3 and 2.4.2, the signature by RFC 5652 section 5.4.
//!
//! What makes one good: it is over this document; it was signed by the certificate that it names, over all that it
//! says; and that certificate was valid at the time that it states, for time stamps and for nothing else. Whose
//! certificate it is can only be judged against authorities that somebody names.

use super::form::{self, SigningCertificate, TstInfo};
use super::{Authorities, StampError};
use cms::cert::CertificateChoices;
use cms::cert::x509::Certificate;
use cms::cert::x509::ext::pkix::{ExtendedKeyUsage, SubjectKeyIdentifier};
use cms::cert::x509::time::Time;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{ObjectIdentifier, OctetString};
use der::oid::AssociatedOid;
use der::{Choice, Decode, DecodeValue, Encode};
use ring::digest;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use serde::Serialize;
use webpki::EndEntityCert;
use webpki::ring as algorithms;
use wire::{Sha256, UtcMicros};

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

// RFC 5652 (CMS) and its attributes.
const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = oid("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
// RFC 5035: which certificate signed.
const SIGNING_CERTIFICATE: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.47");
const TIME_STAMPING: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.8");
// Hashes.
const SHA_384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
// Signatures: the bare key types leave the hash to the field beside them.
const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const RSA_SHA_256: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
const RSA_SHA_384: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
const RSA_SHA_512: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
const EC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
const ECDSA_SHA_256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
const ECDSA_SHA_384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");

/// What a good time stamp says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimeStamp {
    /// The document existed at this time, by the authority's clock.
    pub at_us: UtcMicros,
    /// Subject of the certificate that signed.
    pub by: String,
    /// A chain leads from that certificate to an authority that was named.
    pub vouched_for: bool,
}

/// Checks an authority's answer. `nonce`: what the request carried, where it is known. Without `authorities` anybody
/// may have signed: the answer tells who says to have.
pub fn check(
    answer: &[u8],
    document: &[u8],
    nonce: Option<&[u8]>,
    authorities: Option<&Authorities>,
) -> Result<TimeStamp, StampError> {
    let answer = form::answer(answer)?;
    if let Some(why) = answer.status.refusal() {
        return Err(StampError::Refused(why));
    }
    let signed = signed_data(answer.token)?;
    let content = content(&signed)?;
    let info = TstInfo::from_der(&content).map_err(form::unreadable)?;
    if !info.is_over(Sha256::of(document)) {
        return Err(StampError::AnotherDocument);
    }
    if nonce.is_some_and(|nonce| !info.has_nonce(nonce)) {
        return Err(StampError::AnotherNonce);
    }
    let [signer] = signed.signer_infos.0.as_slice() else {
        return Err(unreadable("it has not exactly one signature"));
    };
    let certificates = Certificates::of(&signed);
    let certificate = certificates.of_signer(signer)?;
    let der = to_der(certificate)?;
    verify_signature(signer, &content, &der)?;
    let at_us = info.time()?;
    let by = certificate.tbs_certificate.subject.to_string();
    let judged = is_for_time_stamps(certificate)
        .and_then(|()| was_valid(certificate, at_us))
        .and_then(|()| match authorities {
            Some(authorities) => vouched_for(authorities, &der, &certificates, at_us),
            None => Ok(()),
        });
    judged.map_err(|problem| StampError::Certificate {
        by: by.clone(),
        problem,
    })?;
    Ok(TimeStamp {
        at_us,
        by,
        vouched_for: authorities.is_some(),
    })
}

fn unreadable(problem: &str) -> StampError {
    StampError::Unreadable(problem.to_owned())
}

fn forged(problem: &str) -> StampError {
    StampError::Forged(problem.to_owned())
}

fn to_der(value: &impl Encode) -> Result<Vec<u8>, StampError> {
    value.to_der().map_err(form::unreadable)
}

fn signed_data(token: Option<ContentInfo>) -> Result<SignedData, StampError> {
    let token = token.ok_or_else(|| unreadable("there is no time stamp in it"))?;
    if token.content_type != SIGNED_DATA {
        return Err(unreadable("what it holds is not signed"));
    }
    token.content.decode_as().map_err(form::unreadable)
}

/// The signed bytes: DER of a TSTInfo.
fn content(signed: &SignedData) -> Result<Vec<u8>, StampError> {
    let inside = &signed.encap_content_info;
    if inside.econtent_type != TST_INFO {
        return Err(unreadable("what it signs is no time stamp"));
    }
    let content = inside
        .econtent
        .as_ref()
        .ok_or_else(|| unreadable("what it signs is not in it"))?;
    let content: OctetString = content.decode_as().map_err(form::unreadable)?;
    Ok(content.into_bytes())
}

/// The certificates that a token carries. Any may stand there, and prove nothing by that.
struct Certificates(Vec<Certificate>);

impl Certificates {
    fn of(signed: &SignedData) -> Self {
        let all = signed.certificates.iter().flat_map(|set| set.0.iter());
        Self(
            all.filter_map(|choice| match choice {
                CertificateChoices::Certificate(certificate) => Some(certificate.clone()),
                CertificateChoices::Other(_) => None,
            })
            .collect(),
        )
    }

    /// The one that the signature names: by issuer and number or key, and by its hash among the signed attributes.
    fn of_signer(&self, signer: &SignerInfo) -> Result<&Certificate, StampError> {
        let found = self
            .0
            .iter()
            .find(|certificate| is_named(signer, certificate));
        let certificate = found.ok_or_else(|| {
            unreadable("the certificate that signed it is not in it, although it was asked for")
        })?;
        if !is_hashed(signer, certificate)? {
            return Err(forged(
                "the certificate in it is not the one whose hash it signs",
            ));
        }
        Ok(certificate)
    }
}

fn is_named(signer: &SignerInfo, certificate: &Certificate) -> bool {
    let body = &certificate.tbs_certificate;
    match &signer.sid {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            id.issuer == body.issuer && id.serial_number == body.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => {
            let own = body.get::<SubjectKeyIdentifier>();
            own.is_ok_and(|own| own.is_some_and(|(_, own)| own == *id))
        }
    }
}

/// A signed attribute with one value.
fn attribute<T: for<'a> Choice<'a> + for<'a> DecodeValue<'a>>(
    signer: &SignerInfo,
    name: ObjectIdentifier,
) -> Result<Option<T>, StampError> {
    let mut attributes = signer.signed_attrs.iter().flat_map(|all| all.iter());
    let Some(attribute) = attributes.find(|attribute| attribute.oid == name) else {
        return Ok(None);
    };
    let [value] = attribute.values.as_slice() else {
        return Err(unreadable("a signed attribute has not exactly one value"));
    };
    value.decode_as().map(Some).map_err(form::unreadable)
}

fn is_hashed(signer: &SignerInfo, certificate: &Certificate) -> Result<bool, StampError> {
    let newer: Option<SigningCertificate> = attribute(signer, SIGNING_CERTIFICATE_V2)?;
    let (named, algorithm) = match newer {
        Some(named) => (named, &digest::SHA256),
        None => {
            let older = attribute(signer, SIGNING_CERTIFICATE)?;
            let older =
                older.ok_or_else(|| unreadable("it does not say whose certificate signed it"))?;
            // A second preimage of SHA-1 is out of reach, and the signature binds the certificate's key besides.
            (older, &digest::SHA1_FOR_LEGACY_USE_ONLY)
        }
    };
    let Some(first) = named.certificates.first() else {
        return Ok(false);
    };
    let algorithm = match &first.hash_algorithm {
        Some(given) => hash_of(given.oid).ok_or_else(|| unknown("hash", given.oid))?,
        None => algorithm,
    };
    let hash = digest::digest(algorithm, &to_der(certificate)?);
    Ok(hash.as_ref() == first.hash.as_bytes())
}

fn hash_of(oid: ObjectIdentifier) -> Option<&'static digest::Algorithm> {
    match oid {
        form::SHA_256 => Some(&digest::SHA256),
        SHA_384 => Some(&digest::SHA384),
        SHA_512 => Some(&digest::SHA512),
        _ => None,
    }
}

fn unknown(what: &str, oid: ObjectIdentifier) -> StampError {
    StampError::Unsupported(format!("the {what} algorithm {oid}"))
}

/// Over the signed attributes, which hold the hash of the content.
fn verify_signature(
    signer: &SignerInfo,
    content: &[u8],
    certificate: &[u8],
) -> Result<(), StampError> {
    let hash = hash_of(signer.digest_alg.oid);
    let hash = hash.ok_or_else(|| unknown("hash", signer.digest_alg.oid))?;
    let stated: Option<OctetString> = attribute(signer, MESSAGE_DIGEST)?;
    if stated.is_none_or(|stated| stated.as_bytes() != digest::digest(hash, content).as_ref()) {
        return Err(forged("what it says was changed"));
    }
    if attribute(signer, CONTENT_TYPE)? != Some(TST_INFO) {
        return Err(forged("it was signed as something else"));
    }
    // Signed is their own encoding as a SET, not the one in the message, which has a tag of its place.
    let attributes = to_der(signer.signed_attrs.as_ref().expect("some were found in it"))?;
    let certificate = CertificateDer::from(certificate);
    let certificate = EndEntityCert::try_from(&certificate)
        .map_err(|error| StampError::Unreadable(format!("its certificate: {error}")))?;
    for algorithm in algorithms_of(signer)? {
        match certificate.verify_signature(algorithm, &attributes, signer.signature.as_bytes()) {
            Ok(()) => return Ok(()),
            // For another kind of key.
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => return Err(forged("it was changed, or another key made it")),
        }
    }
    Err(StampError::Unsupported(
        "keys of the kind that made it; RSA, P-256 and P-384 are known".into(),
    ))
}

/// Those that the signature may have been made with; the key decides among them.
fn algorithms_of(
    signer: &SignerInfo,
) -> Result<Vec<&'static dyn SignatureVerificationAlgorithm>, StampError> {
    let named = signer.signature_algorithm.oid;
    let hash = match named {
        RSA | EC_KEY => signer.digest_alg.oid,
        RSA_SHA_256 | ECDSA_SHA_256 => form::SHA_256,
        RSA_SHA_384 | ECDSA_SHA_384 => SHA_384,
        RSA_SHA_512 => SHA_512,
        _ => return Err(unknown("signature", named)),
    };
    match hash {
        form::SHA_256 => Ok(vec![
            algorithms::RSA_PKCS1_2048_8192_SHA256,
            algorithms::ECDSA_P256_SHA256,
            algorithms::ECDSA_P384_SHA256,
        ]),
        SHA_384 => Ok(vec![
            algorithms::RSA_PKCS1_2048_8192_SHA384,
            algorithms::ECDSA_P256_SHA384,
            algorithms::ECDSA_P384_SHA384,
        ]),
        SHA_512 => Ok(vec![algorithms::RSA_PKCS1_2048_8192_SHA512]),
        _ => Err(unknown("hash", hash)),
    }
}

/// RFC 3161 section 2.3: the extension must be critical and name this usage alone.
fn is_for_time_stamps(certificate: &Certificate) -> Result<(), String> {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let mut usages = extensions.filter(|extension| extension.extn_id == ExtendedKeyUsage::OID);
    let is_so = usages.next().is_some_and(|extension| {
        let usage = ExtendedKeyUsage::from_der(extension.extn_value.as_bytes());
        extension.critical && usage.is_ok_and(|usage| usage.0 == [TIME_STAMPING])
    });
    if is_so {
        Ok(())
    } else {
        Err(
            "it was not issued for time stamps alone (critical extendedKeyUsage timeStamping)"
                .into(),
        )
    }
}

fn was_valid(certificate: &Certificate, at: UtcMicros) -> Result<(), String> {
    let micros =
        |time: Time| i64::try_from(time.to_unix_duration().as_micros()).unwrap_or(i64::MAX);
    let validity = certificate.tbs_certificate.validity;
    // The last second counts as a whole.
    let from = micros(validity.not_before);
    let until = micros(validity.not_after).saturating_add(999_999);
    if at.0 < from {
        return Err("at the stated time it was not valid yet".into());
    }
    if at.0 > until {
        return Err("at the stated time it had expired".into());
    }
    Ok(())
}

fn vouched_for(
    authorities: &Authorities,
    certificate: &[u8],
    all: &Certificates,
    at: UtcMicros,
) -> Result<(), String> {
    let certificate = CertificateDer::from(certificate);
    let certificate = EndEntityCert::try_from(&certificate).map_err(|error| error.to_string())?;
    let others: Vec<CertificateDer<'_>> = all
        .0
        .iter()
        .filter_map(|other| other.to_der().ok())
        .map(CertificateDer::from)
        .collect();
    let judged = authorities.vouch_for(&certificate, &others, at);
    judged.map_err(|error| match error {
        webpki::Error::UnknownIssuer => {
            "no chain leads from it to the authorities that are believed".into()
        }
        error => format!("its chain to the authorities that are believed does not hold ({error})"),
    })
}
