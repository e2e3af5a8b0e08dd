//! Who gets in, and what those get who do not.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, in its helpers too")]

mod lab;

use std::time::Duration;

use lab::{Client, Lab, REALM, Reply, UNIX_START, addr, config, secret, userhash, with_policy};
use lanyard_turn_core::stun::{
    AttributeKind, Class, Integrity, MessageWriter, Method, PasswordAlgorithm, TransactionId,
};
use lanyard_turn_core::{Config, Limits, PeerPolicy, SharedSecret, StaticUser, Transport};

const OFFER: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

fn bare(method: Method, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, TransactionId([1; 12]));
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

fn lightest_allocate() -> Vec<u8> {
    bare(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    })
}

#[test]
fn request_without_credentials_is_challenged_with_realm_nonce_and_algorithms() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let reply = client.challenge(&mut lab);
    let message = reply.message();
    assert_eq!(message.attribute(AttributeKind::REALM), Some(REALM.as_bytes()));
    assert_eq!(message.attribute(AttributeKind::PASSWORD_ALGORITHMS), Some(&OFFER[..]));
    assert!(client.nonce.starts_with(b"obMatJos2gAAA"));
    assert_eq!(message.integrity_kind(), None);
    assert_eq!(message.attribute(AttributeKind::SOFTWARE), None);
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 0);
}

/// Makes the last attribute, of four bytes, claim a byte more than there is.
fn broken_off(mut message: Vec<u8>) -> Vec<u8> {
    let length = message.len() - 5;
    message[length] = 5;
    message
}

#[test]
fn turn_request_whose_attributes_break_off_counts_as_far_as_they_go() {
    let mut lab = Lab::new(with_policy(PeerPolicy::Any));
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let bytes = broken_off(bare(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]).u32(AttributeKind::LIFETIME, 600);
    }));
    assert_eq!(client.exchange(&mut lab, &bytes).unwrap().outcome(), 401, "a request without credentials");

    // What is protected is whole, whatever comes after.
    client.challenge(&mut lab);
    let mut bytes = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    bytes.extend([0x80, 0x28, 0, 4, 1, 2, 3, 4]);
    bytes[3] += 8;
    let bytes = broken_off(bytes);
    assert_eq!(client.exchange(&mut lab, &bytes).unwrap().outcome(), 0);

    // Nobody waits for an answer to anything else.
    let peer = addr("192.0.2.9:9");
    assert_eq!(client.permit(&mut lab, peer), 0);
    let classes = [Class::Indication, Class::Success, Class::Error].map(|class| (class, Method::ALLOCATE));
    for (class, method) in classes.into_iter().chain([
        (Class::Request, Method::BINDING),
        (Class::Indication, Method::BINDING),
        (Class::Indication, Method::SEND),
    ]) {
        let mut bytes = Vec::new();
        let mut writer = MessageWriter::new(&mut bytes, class, method, TransactionId([1; 12]));
        writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer).attribute(AttributeKind::DATA, b"data");
        writer.finish().unwrap();
        let reply = client.exchange(&mut lab, &broken_off(bytes));
        assert_eq!(reply.map(|reply| reply.0), None, "{class:?} {method:?}");
    }
}

#[test]
fn wrong_password_and_unknown_user_are_401_and_leave_nothing() {
    let mut lab = Lab::new(config());
    for (username, password) in [
        ("alice", "wrong"),
        ("alice", ""),
        ("nobody", "password of alice"),
        ("1900000000:tag", "wrong"),
        ("1900000000", "wrong"),
        (":", "wrong"),
    ] {
        let mut client = Client::over(Transport::Udp, "192.0.2.1:1000", username, password);
        client.challenge(&mut lab);
        assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 401, "{username}");
        lab.pass(Duration::from_secs(1));
    }
    assert_eq!((lab.server.metrics().allocations, lab.server.metrics().wrong_credentials), (0, 6));
    assert_eq!(lab.server.poll_timeout(), None);
}

#[test]
fn other_realm_makes_another_key_and_is_401() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    client.realm = "elsewhere".to_owned();
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 401);
}

#[test]
fn integrity_without_username_realm_or_nonce_is_400() {
    for missing in [AttributeKind::USERNAME, AttributeKind::REALM, AttributeKind::NONCE] {
        let mut lab = Lab::new(config());
        let mut client = Client::user("192.0.2.1:1000", "alice");
        client.challenge(&mut lab);
        let request = bare(Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            for (kind, value) in [
                (AttributeKind::USERNAME, b"alice".as_slice()),
                (AttributeKind::REALM, REALM.as_bytes()),
                (AttributeKind::NONCE, &client.nonce),
            ] {
                if kind != missing {
                    writer.attribute(kind, value);
                }
            }
            writer.integrity(Integrity::Sha1, &client.key());
        });
        let reply = client.exchange(&mut lab, &request).unwrap();
        assert_eq!(reply.outcome(), 400);
        assert_eq!(reply.message().attribute(AttributeKind::NONCE), None);
    }
}

#[test]
fn old_foreign_or_moved_nonce_is_438_with_a_new_one() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    let old = client.nonce.clone();
    lab.pass(Duration::from_secs(1800));
    let reply = client.allocate_with(&mut lab, |_| {});
    assert_eq!(reply.outcome(), 438);
    assert_eq!(reply.message().attribute(AttributeKind::REALM), Some(REALM.as_bytes()));
    client.nonce = reply.message().attribute(AttributeKind::NONCE).unwrap().to_vec();
    assert_ne!(client.nonce, old);

    let mut moved = client.clone();
    moved.tuple.client = addr("192.0.2.1:1001");
    assert_eq!(moved.allocate_with(&mut lab, |_| {}).outcome(), 438);
    let mut foreign = client.clone();
    foreign.nonce = b"something else".to_vec();
    assert_eq!(foreign.allocate_with(&mut lab, |_| {}).outcome(), 438);

    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 0);
    assert_eq!(lab.server.metrics().stale_nonces, 3);
}

#[test]
fn stale_nonce_with_a_wrong_password_is_401() {
    let mut lab = Lab::new(config());
    let mut client = Client::over(Transport::Udp, "192.0.2.1:1000", "alice", "wrong");
    client.nonce = b"stale".to_vec();
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 401);
}

#[test]
fn sha256_works_for_key_and_integrity_in_every_combination() {
    for algorithm in [PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256] {
        for integrity in [Integrity::Sha1, Integrity::Sha256] {
            let mut lab = Lab::new(config());
            let mut client = Client::user("192.0.2.1:1000", "alice");
            client.challenge(&mut lab);
            (client.algorithm, client.integrity, client.offered) = (algorithm, integrity, Some(OFFER.to_vec()));
            assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 0);
            assert_eq!(client.refresh(&mut lab, 600).outcome(), 0);
        }
    }
}

#[test]
fn offer_that_was_changed_on_the_way_is_400() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    client.offered = Some([0, 1, 0, 0].to_vec());
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 400);
    client.offered = None;
    let id = client.next_id();
    let only_choice = client.build_as(id, Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::PASSWORD_ALGORITHM, &[0, 1, 0, 0]);
    });
    assert_eq!(client.exchange(&mut lab, &only_choice).unwrap().outcome(), 400);
}

#[test]
fn users_are_found_by_the_hash_of_their_name() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "bob");
    client.challenge(&mut lab);
    client.hides_name = true;
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 0);
    let mut unknown = Client::over(Transport::Udp, "192.0.2.1:1001", "mallory", "password of bob");
    unknown.challenge(&mut lab);
    unknown.hides_name = true;
    assert_eq!(unknown.allocate_with(&mut lab, |_| {}).outcome(), 401);
    assert_ne!(userhash("bob", REALM), userhash("bob", "other"));
}

#[test]
fn names_are_hidden_only_where_every_name_can_be_found() {
    let mut lab = Lab::new(Config { secrets: Vec::new(), ..config() });
    let mut client = Client::user("192.0.2.1:1000", "bob");
    client.challenge(&mut lab);
    assert!(client.nonce.starts_with(b"obMatJos2wAAA"));
    client.hides_name = true;
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 0);
}

#[test]
fn time_limited_credential_allocates_until_it_expires() {
    let mut lab = Lab::new(config());
    let mut early = Client::tagged("192.0.2.1:1000", "tag");
    early.allocate(&mut lab);
    lab.pass(Duration::from_secs(3600));
    let mut late = Client::tagged("192.0.2.1:1001", "tag");
    late.challenge(&mut lab);
    assert_eq!(late.allocate_with(&mut lab, |_| {}).outcome(), 401);
}

#[test]
fn expired_credential_keeps_its_allocation_for_the_grace_period_only() {
    let grace = Duration::from_secs(900);
    let limits = Limits { expired_credential_grace: grace, ..Limits::default() };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut client = Client::tagged("192.0.2.1:1000", "tag");
    client.allocate(&mut lab);
    let mut outcomes = Vec::new();
    for _ in 0..12 {
        lab.pass(Duration::from_secs(400));
        client.nonce = b"stale".to_vec();
        let stale = client.refresh(&mut lab, 600);
        if stale.outcome() == 438 {
            client.nonce = stale.message().attribute(AttributeKind::NONCE).unwrap().to_vec();
        }
        outcomes.push(client.refresh(&mut lab, 600).outcome());
    }
    // Expiry at 3600 s, grace until 4500 s; after the last good refresh at 4400 s nothing is left to keep.
    assert_eq!(outcomes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 401]);
}

#[test]
fn member_of_a_room_keeps_its_allocation_until_it_leaves() {
    let limits = Limits { expired_credential_grace: Duration::ZERO, ..Limits::default() };
    let mut lab = Lab::new(Config { limits, ..config() });
    lab.join("tag", 1, 1, &["192.0.2.1"]);
    let mut client = Client::tagged("192.0.2.1:1000", "tag");
    client.allocate(&mut lab);
    for _ in 0..20 {
        lab.pass(Duration::from_secs(500));
        client.nonce = b"stale".to_vec();
        client.nonce = client.refresh(&mut lab, 600).message().attribute(AttributeKind::NONCE).unwrap().to_vec();
        assert_eq!(client.refresh(&mut lab, 600).outcome(), 0);
    }
    lab.server.remove_member("tag");
    lab.drain();
    assert_eq!((lab.sockets.len(), lab.server.metrics().allocations), (0, 0));
}

#[test]
fn renewed_credential_of_the_same_tag_takes_over_the_allocation() {
    let mut lab = Lab::new(config());
    let mut client = Client::tagged("192.0.2.1:1000", "tag");
    client.allocate(&mut lab);
    let renewed = secret().mint(UNIX_START + 7200, "tag");
    (client.username, client.password) = (renewed.username, renewed.password);
    assert_eq!(client.refresh(&mut lab, 600).outcome(), 0);
    let other = secret().mint(UNIX_START + 7200, "another");
    (client.username, client.password) = (other.username, other.password);
    assert_eq!(client.refresh(&mut lab, 600).outcome(), 441);
}

#[test]
fn credentials_of_every_secret_are_good_until_it_is_taken_away() {
    let old = SharedSecret::new(*b"the old secret..");
    let mut lab = Lab::new(Config { secrets: vec![secret(), old.clone()], ..config() });
    let minted = old.mint(UNIX_START + 60, "old");
    let mut by_old = Client::over(Transport::Udp, "192.0.2.1:1000", &minted.username, &minted.password);
    by_old.allocate(&mut lab);
    Client::tagged("192.0.2.1:1001", "new").allocate(&mut lab);
    Client::user("192.0.2.1:1002", "alice").allocate(&mut lab);
    lab.server.set_secrets(vec![secret()]);
    lab.drain();
    assert_eq!((lab.sockets.len(), lab.server.metrics().cut_by_reload), (2, 1));
    assert_eq!(by_old.refresh(&mut lab, 600).outcome(), 401);
}

#[test]
fn static_user_is_cut_when_its_password_changes_and_kept_when_not() {
    let mut lab = Lab::new(config());
    let mut alice = Client::user("192.0.2.1:1000", "alice");
    alice.allocate(&mut lab);
    let mut bob = Client::user("192.0.2.1:1001", "bob");
    bob.allocate(&mut lab);
    let mut users: Vec<StaticUser> = config().users;
    users[1].password = "changed".to_owned();
    lab.server.set_users(users);
    lab.drain();
    assert_eq!(alice.refresh(&mut lab, 600).outcome(), 0);
    assert_eq!(bob.refresh(&mut lab, 600).outcome(), 401);
    assert_eq!(lab.sockets.len(), 1);
}

#[test]
fn without_a_wall_clock_time_limited_credentials_are_expired() {
    let mut lab = Lab::new(config());
    lab.server = lanyard_turn_core::Server::new(config(), [1; 32], lab.now);
    let mut client = Client::tagged("192.0.2.1:1000", "tag");
    client.challenge(&mut lab);
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 401);
}

#[test]
fn jump_of_the_wall_clock_disturbs_no_allocation_of_a_member() {
    let mut lab = Lab::new(config());
    lab.join("tag", 1, 1, &[]);
    let mut client = Client::tagged("192.0.2.1:1000", "tag");
    client.allocate(&mut lab);
    for jump in [86_400, 0] {
        lab.server.set_wall_clock(lab.now, Duration::from_secs(UNIX_START - 43_200 + jump));
        assert_eq!(client.refresh(&mut lab, 600).outcome(), 0);
    }
}

#[test]
fn no_refusal_weighs_more_than_twice_its_request_and_a_fifth() {
    let requests = [
        lightest_allocate(),
        bare(Method::REFRESH, |_| {}),
        bare(Method::CREATE_PERMISSION, |_| {}),
        bare(Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]).fingerprint();
        }),
        bare(Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::SOFTWARE, b"a client with a name");
        }),
        bare(Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::MESSAGE_INTEGRITY, &[0; 20]);
        }),
    ];
    for realm in [REALM, "relay.example.org", "a realm as long as a realm may be here.."] {
        for (client, overhead) in [("192.0.2.1:1000", 28), ("[2001:db8::1]:1000", 48)] {
            for request in &requests {
                let mut lab = Lab::new(Config { realm: realm.to_owned(), ..config() });
                let client = Client::user(client, "alice");
                let reply = client.exchange(&mut lab, request);
                let answered = reply.as_ref().map_or(0, |reply| reply.0.len() + overhead);
                let factor = answered as f64 / (request.len() + overhead) as f64;
                assert!(factor <= 2.2, "{factor} for {} bytes, realm {realm}", request.len());
                if *request == requests[0] {
                    assert_eq!(reply.map(|reply| reply.outcome()), Some(401), "the lightest Allocate, realm {realm}");
                }
            }
        }
    }
}

#[test]
fn algorithms_are_offered_only_to_requests_large_enough() {
    let mut lab = Lab::new(config());
    let client = Client::user("192.0.2.1:1000", "alice");
    let light = client.exchange(&mut lab, &lightest_allocate()).unwrap();
    assert_eq!(light.message().attribute(AttributeKind::PASSWORD_ALGORITHMS), None);
    assert!(!light.message().attribute(AttributeKind::NONCE).unwrap().starts_with(b"obMatJos2"));
}

#[test]
fn source_gets_at_most_ten_refusals_in_a_second_and_never_more_bytes_than_it_sends() {
    let mut lab = Lab::new(config());
    let client = Client::user("192.0.2.1:1000", "alice");
    let request = lightest_allocate();
    let mut times = Vec::new();
    let (mut sent, mut received) = (0, 0);
    for ms in 0..3_000 {
        sent += request.len() + 28;
        if let Some(Reply(bytes)) = client.exchange(&mut lab, &request) {
            times.push(ms);
            received += bytes.len() + 28;
        }
        lab.pass(Duration::from_millis(1));
    }
    assert!(times.windows(11).all(|window| window[10] - window[0] >= 1000), "{times:?}");
    assert!(received < sent / 10);
    let other = Client::user("192.0.2.2:1000", "alice");
    assert!(other.exchange(&mut lab, &request).is_some());
}

#[test]
fn stream_client_is_always_challenged_but_may_not_guess_without_end() {
    let mut lab = Lab::new(config());
    for port in 1..200 {
        let address = format!("192.0.2.1:{port}");
        Client::over(Transport::Tcp, &address, "alice", "wrong").challenge(&mut lab);
    }
    let mut guesser = Client::over(Transport::Tcp, "192.0.2.1:1000", "alice", "wrong");
    guesser.challenge(&mut lab);
    let answered = (0..100)
        .filter(|_| {
            let guess = guesser.build(Method::ALLOCATE, |_| {});
            guesser.exchange(&mut lab, &guess).is_some()
        })
        .count();
    assert_eq!(answered, 10);
}

#[test]
fn unknown_attribute_is_reported_only_to_those_who_have_proved_themselves() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let unproven = bare(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind(0x7777), b"");
    });
    assert_eq!(client.exchange(&mut lab, &unproven).unwrap().outcome(), 401);
    let reply = client.allocate_with(&mut lab, |writer| {
        writer.attribute(AttributeKind(0x7777), b"");
    });
    assert_eq!(reply.outcome(), 420);
    assert_eq!(reply.message().attribute(AttributeKind::UNKNOWN_ATTRIBUTES), Some(&[0x77, 0x77][..]));
}
