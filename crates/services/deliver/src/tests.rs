use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use prost::Message;
use ripstop_operations::Metrics;
use ripstop_proto::orderer::seek_position::Type as At;
use ripstop_proto::{common, orderer, protos, rwset};
use ripstop_testkit::until;
use ripstop_transport::ConcurrencyLimit;
use ripstop_types::{Block, BlockNumber, Envelope, HeaderType, SignedData};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::Status;

use crate::session::{Session, check_header};
use crate::{
    BlockForm, BlockSource, Channels, DeliverConfig, DeliverService, Delivery, ExpirationCheck, Refusal, SourceError,
    TlsBinding,
};

struct Chain {
    blocks: Mutex<Vec<Arc<Block>>>,
    heights: watch::Sender<u64>,
    errored: watch::Sender<bool>,
    /// The configuration's sequence, and whether readers are allowed under it.
    config: Mutex<(u64, bool)>,
}

impl Chain {
    fn new(length: u64) -> Arc<Self> {
        let chain = Self {
            blocks: Mutex::default(),
            heights: watch::Sender::new(0),
            errored: watch::Sender::new(false),
            config: Mutex::new((1, true)),
        };
        (0..length).for_each(|_| chain.append());
        Arc::new(chain)
    }

    fn append(&self) {
        let mut blocks = self.blocks.lock().unwrap();
        let kind = if blocks.is_empty() { HeaderType::Config } else { HeaderType::EndorserTransaction };
        let channel_header = common::ChannelHeader {
            r#type: kind.number(),
            channel_id: "mychannel".to_owned(),
            tx_id: format!("tx{}", blocks.len()),
            ..Default::default()
        };
        let envelope = envelope(channel_header, b"".as_slice().into()).encode_to_vec();
        let number = blocks.len() as u64;
        blocks.push(Arc::new(Block::new(BlockNumber::new(number), Default::default(), vec![envelope.into()])));
        self.heights.send_replace(number + 1);
    }
}

impl BlockSource for Chain {
    fn heights(&self) -> watch::Receiver<u64> {
        self.heights.subscribe()
    }

    fn block(&self, number: BlockNumber) -> Result<Arc<Block>, SourceError> {
        let blocks = self.blocks.lock().unwrap();
        blocks.get(number.get() as usize).cloned().ok_or_else(|| SourceError("no such block".to_owned()))
    }

    fn config_sequence(&self) -> u64 {
        self.config.lock().unwrap().0
    }

    fn errored(&self) -> Option<watch::Receiver<bool>> {
        Some(self.errored.subscribe())
    }

    fn private_data(
        &self,
        number: BlockNumber,
        _: &SignedData,
    ) -> Result<BTreeMap<u64, rwset::TxPvtReadWriteSet>, SourceError> {
        match number.get() {
            2 => Err(SourceError("it cannot be read".to_owned())),
            number => Ok([(number, rwset::TxPvtReadWriteSet::default())].into()),
        }
    }

    fn authorize(&self, _: BlockForm, _: &SignedData) -> Result<(), Refusal> {
        if self.config.lock().unwrap().1 { Ok(()) } else { Err(Refusal("not a reader".to_owned())) }
    }
}

struct OneChannel(HashMap<String, Arc<Chain>>);

impl Channels for OneChannel {
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>> {
        self.0.get(channel).map(|chain| Arc::clone(chain) as Arc<dyn BlockSource>)
    }
}

fn service(chain: &Arc<Chain>) -> DeliverService {
    counted_service(chain, &Metrics::new())
}

fn counted_service(chain: &Arc<Chain>, metrics: &Metrics) -> DeliverService {
    let channels = OneChannel([("mychannel".to_owned(), Arc::clone(chain))].into());
    let config = DeliverConfig {
        time_window: Duration::from_secs(900),
        binding: TlsBinding::NotChecked,
        expiration: ExpirationCheck::On,
        limit: ConcurrencyLimit::new("/protos.Deliver", 10),
    };
    DeliverService::new(Arc::new(channels), config, metrics)
}

fn envelope(channel_header: common::ChannelHeader, data: bytes::Bytes) -> common::Envelope {
    let header =
        common::Header { channel_header: channel_header.encode_to_vec().into(), signature_header: Default::default() };
    let payload = common::Payload { header: Some(header), data };
    common::Envelope { payload: payload.encode_to_vec().into(), signature: b"s".as_slice().into() }
}

fn request(channel: &str, info: &orderer::SeekInfo) -> common::Envelope {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let channel_header = common::ChannelHeader {
        channel_id: channel.to_owned(),
        timestamp: Some(prost_types::Timestamp { seconds: now, nanos: 0 }),
        ..Default::default()
    };
    envelope(channel_header, info.encode_to_vec().into())
}

fn number(number: u64) -> At {
    At::Specified(orderer::SeekSpecified { number })
}

fn oldest() -> At {
    At::Oldest(orderer::SeekOldest {})
}

fn newest() -> At {
    At::Newest(orderer::SeekNewest {})
}

fn next_commit() -> At {
    At::NextCommit(orderer::SeekNextCommit {})
}

fn seek(start: At, stop: At) -> orderer::SeekInfo {
    let at = |position| Some(orderer::SeekPosition { r#type: Some(position) });
    orderer::SeekInfo { start: at(start), stop: at(stop), ..Default::default() }
}

fn impatient(mut info: orderer::SeekInfo) -> orderer::SeekInfo {
    info.set_behavior(orderer::seek_info::SeekBehavior::FailIfNotReady);
    info
}

fn text(answer: &protos::DeliverResponse) -> String {
    use protos::deliver_response::Type;
    match answer.r#type.as_ref().unwrap() {
        Type::Status(status) => common::Status::try_from(*status).unwrap().as_str_name().to_owned(),
        Type::Block(block) => {
            let data = if block.data.is_some() { "" } else { "h" };
            format!("{}{data}", block.header.as_ref().unwrap().number)
        }
        Type::FilteredBlock(block) => format!("{}:{}", block.number, block.filtered_transactions[0].txid),
        Type::BlockAndPrivateData(both) => {
            let number = both.block.as_ref().unwrap().header.as_ref().unwrap().number;
            let places: Vec<String> = both.private_data_map.keys().map(u64::to_string).collect();
            format!("{number}+{}", places.join(","))
        }
    }
}

type Answers = ReceiverStream<Result<protos::DeliverResponse, Status>>;

/// Sends requests at once, then the end of the stream.
fn send(service: &DeliverService, form: BlockForm, requests: Vec<common::Envelope>) -> Answers {
    let requests = tokio_stream::iter(requests.into_iter().map(Ok).collect::<Vec<_>>());
    service.deliver(requests, None, form).unwrap()
}

async fn all(answers: Answers) -> String {
    let answers: Vec<_> = answers.map(|answer| text(&answer.unwrap())).collect().await;
    answers.join(" ")
}

#[tokio::test]
async fn positions_mean_what_they_mean_in_fabric() {
    let chain = Chain::new(5);
    let service = service(&chain);
    let mut headers = seek(oldest(), number(1));
    headers.set_content_type(orderer::seek_info::SeekContentType::HeaderWithSig);
    let mut without_stop = seek(oldest(), oldest());
    without_stop.stop = None;
    let cases = [
        (seek(oldest(), oldest()), "0 SUCCESS"),
        (seek(oldest(), newest()), "0 1 2 3 4 SUCCESS"),
        (seek(newest(), newest()), "4 SUCCESS"),
        (seek(newest(), number(4)), "4 SUCCESS"),
        (seek(number(2), number(3)), "2 3 SUCCESS"),
        (seek(number(3), number(2)), "BAD_REQUEST"),
        (seek(number(6), number(7)), "NOT_FOUND"),
        (impatient(seek(number(5), number(5))), "NOT_FOUND"),
        (impatient(seek(number(3), number(u64::MAX))), "3 4 NOT_FOUND"),
        (impatient(seek(next_commit(), number(9))), "NOT_FOUND"),
        (impatient(seek(number(2), next_commit())), "2 3 4 NOT_FOUND"),
        (headers, "0 1h SUCCESS"),
        (without_stop, "BAD_REQUEST"),
    ];
    for (info, expected) in cases {
        let answers = send(&service, BlockForm::Full, vec![request("mychannel", &info)]);
        assert_eq!(all(answers).await, expected, "{info:?}");
    }
    let filtered = send(&service, BlockForm::Filtered, vec![request("mychannel", &seek(oldest(), number(1)))]);
    assert_eq!(all(filtered).await, "0:tx0 1:tx1 SUCCESS");
    // The test's chain has private data at the place that is the block's number, and cannot read those of block 2.
    for (stop, expected) in [(1, "0+0 1+1 SUCCESS"), (2, "0+0 1+1 INTERNAL_SERVER_ERROR")] {
        let request = request("mychannel", &seek(oldest(), number(stop)));
        assert_eq!(all(send(&service, BlockForm::WithPrivateData, vec![request])).await, expected);
    }
}

#[tokio::test]
async fn only_success_keeps_a_stream_open() {
    let chain = Chain::new(2);
    let service = service(&chain);
    let first = request("mychannel", &seek(oldest(), oldest()));
    let unknown = request("other", &seek(oldest(), oldest()));
    let answers = send(&service, BlockForm::Full, vec![first.clone(), first.clone(), unknown, first]);
    assert_eq!(all(answers).await, "0 SUCCESS 0 SUCCESS NOT_FOUND");
}

#[tokio::test]
async fn malformed_and_stale_requests_are_bad() {
    let chain = Chain::new(1);
    let service = service(&chain);
    let good = request("mychannel", &seek(oldest(), oldest()));
    let no_payload = common::Envelope { payload: vec![0xff].into(), ..good.clone() };
    let no_header = common::Envelope { payload: Default::default(), ..good.clone() };
    let no_time = envelope(
        common::ChannelHeader { channel_id: "mychannel".to_owned(), ..Default::default() },
        Default::default(),
    );
    let stale = envelope(
        common::ChannelHeader {
            channel_id: "mychannel".to_owned(),
            timestamp: Some(prost_types::Timestamp { seconds: i64::MIN, nanos: i32::MIN }),
            ..Default::default()
        },
        Default::default(),
    );
    for bad in [no_payload, no_header, no_time, stale] {
        assert_eq!(all(send(&service, BlockForm::Full, vec![bad])).await, "BAD_REQUEST");
    }
}

#[tokio::test]
async fn a_client_whose_certificate_expired_is_forbidden() {
    let organization = ripstop_testkit::Organization::new("Org1MSP");
    let by = |creator: &ripstop_keys::SigningIdentity| {
        let request = request("mychannel", &seek(oldest(), oldest()));
        let mut payload = common::Payload::decode(request.payload).unwrap();
        let header = common::SignatureHeader { creator: creator.identity().raw.clone(), ..Default::default() };
        if let Some(headers) = &mut payload.header {
            headers.signature_header = header.encode_to_vec().into();
        }
        common::Envelope { payload: payload.encode_to_vec().into(), signature: request.signature }
    };
    let service = service(&Chain::new(1));
    let valid = send(&service, BlockForm::Full, vec![by(&organization.client("user"))]);
    assert_eq!(all(valid).await, "0 SUCCESS");
    let expired = send(&service, BlockForm::Full, vec![by(&organization.expired_client("old"))]);
    assert_eq!(all(expired).await, "FORBIDDEN");
}

#[test]
fn the_log_tells_why_a_client_may_not_read() {
    let organization = ripstop_testkit::Organization::new("Org1MSP");
    let chain = Chain::new(1);
    chain.config.lock().unwrap().1 = false;
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let why = |creator: &ripstop_keys::SigningIdentity, now: SystemTime| {
        let mut envelope = Envelope::from_proto(request("mychannel", &seek(oldest(), oldest()))).unwrap();
        envelope.signature_header.creator = creator.identity().raw.clone();
        let source = Arc::clone(&chain) as Arc<dyn BlockSource>;
        Session::new(source, BlockForm::Full, &envelope, ExpirationCheck::On).evaluate(now).unwrap_err().to_string()
    };
    let (user, old) = (organization.client("user"), organization.expired_client("old"));
    assert_eq!(why(&user, at(1_800_000_000)), "not a reader");
    assert_eq!(
        why(&old, at(old.certificate().not_after() as u64 + 60)),
        "deliver client identity expired 60s before: the certificate of 'CN=old.Org1MSP,OU=client,C=US' of Org1MSP was valid \
         until 2024-01-02T00:00:00Z; enroll again"
    );
    let window = Duration::from_secs(900);
    let early = Envelope::from_proto(request("mychannel", &seek(oldest(), oldest()))).unwrap();
    let refused =
        check_header(&early, window, TlsBinding::NotChecked, None, at(1_600_000_000)).unwrap_err().to_string();
    assert!(refused.starts_with("envelope timestamp 20"), "{refused}");
    assert!(
        refused.ends_with(
            "Z is more than 900s apart from current server time 2020-09-13T12:26:40Z: the client's clock, or this one, is wrong"
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn under_mutual_tls_a_request_must_name_the_certificate_of_its_connection() {
    let chain = Chain::new(1);
    let channels = OneChannel([("mychannel".to_owned(), Arc::clone(&chain))].into());
    let config = DeliverConfig {
        time_window: Duration::from_secs(900),
        binding: TlsBinding::Required,
        expiration: ExpirationCheck::Off,
        limit: ConcurrencyLimit::new("/protos.Deliver", 0),
    };
    let service = DeliverService::new(Arc::new(channels), config, &Metrics::new());
    let unbound = request("mychannel", &seek(oldest(), oldest()));
    assert_eq!(all(send(&service, BlockForm::Full, vec![unbound.clone()])).await, "BAD_REQUEST");
    let mut payload = common::Payload::decode(unbound.payload).unwrap();
    if let Some(headers) = &mut payload.header {
        let mut header = common::ChannelHeader::decode(headers.channel_header.clone()).unwrap();
        header.tls_cert_hash = vec![1; 32].into();
        headers.channel_header = header.encode_to_vec().into();
    }
    // It names one, but the connection shows none.
    let bound = common::Envelope { payload: payload.encode_to_vec().into(), signature: unbound.signature };
    assert_eq!(all(send(&service, BlockForm::Full, vec![bound])).await, "BAD_REQUEST");
}

/// A stream on which requests are sent one by one.
fn open(service: &DeliverService) -> (mpsc::UnboundedSender<Result<common::Envelope, Status>>, Answers) {
    let (sender, requests) = mpsc::unbounded_channel();
    let answers = service.deliver(UnboundedReceiverStream::new(requests), None, BlockForm::Full).unwrap();
    (sender, answers)
}

#[tokio::test]
async fn streams_wait_for_blocks_and_end_when_the_right_to_read_ends() {
    let chain = Chain::new(1);
    let service = service(&chain);
    let (requests, mut answers) = open(&service);
    requests.send(Ok(request("mychannel", &seek(number(0), number(u64::MAX))))).unwrap();
    let mut next = async || text(&answers.next().await.unwrap().unwrap());
    assert_eq!(next().await, "0");
    chain.append();
    assert_eq!(next().await, "1");
    // Taking the right away has no effect before the configuration moves on.
    chain.config.lock().unwrap().1 = false;
    chain.append();
    assert_eq!(next().await, "2");
    chain.config.lock().unwrap().0 = 2;
    chain.append();
    assert_eq!(next().await, "FORBIDDEN");
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_counted_as_completed_without_success() {
    let (chain, metrics) = (Chain::new(1), Metrics::new());
    let service = counted_service(&chain, &metrics);
    let (requests, mut answers) = open(&service);
    requests.send(Ok(request("mychannel", &seek(number(0), number(u64::MAX))))).unwrap();
    assert_eq!(text(&answers.next().await.unwrap().unwrap()), "0");
    drop(answers);
    until("the stream is closed", || metrics.text().contains("deliver_streams_closed 1")).await;
    let line =
        r#"deliver_requests_completed{channel="mychannel",data_type="block",filtered="false",success="false"} 1"#;
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test]
async fn consensus_errors_end_strict_requests_only() {
    let chain = Chain::new(1);
    let service = service(&chain);
    let (requests, mut answers) = open(&service);
    requests.send(Ok(request("mychannel", &seek(oldest(), number(9))))).unwrap();
    assert_eq!(text(&answers.next().await.unwrap().unwrap()), "0");
    chain.errored.send_replace(true);
    assert_eq!(text(&answers.next().await.unwrap().unwrap()), "SERVICE_UNAVAILABLE");
    let strict = seek(oldest(), oldest());
    let mut best_effort = strict;
    best_effort.set_error_response(orderer::seek_info::SeekErrorResponse::BestEffort);
    let strict = send(&service, BlockForm::Full, vec![request("mychannel", &strict)]);
    assert_eq!(all(strict).await, "SERVICE_UNAVAILABLE");
    let best_effort = send(&service, BlockForm::Full, vec![request("mychannel", &best_effort)]);
    assert_eq!(all(best_effort).await, "0 SUCCESS");
}

#[test]
fn an_orderer_never_sends_filtered_blocks() {
    let answer = orderer::DeliverResponse::from(Delivery::Filtered(protos::FilteredBlock::default()));
    assert_eq!(answer.r#type, Some(orderer::deliver_response::Type::Status(common::Status::BadRequest.into())));
}
