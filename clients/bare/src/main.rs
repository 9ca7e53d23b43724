//! A worker made from nothing but the proto: takes a lease, renews it, works, releases it.
use std::time::{Duration, Instant};

use protos::lockservice::v1::lock_service_client::LockServiceClient;
use protos::lockservice::v1::{
    AcquireOutcome, AcquireRequest, Disposition, Lease, ReleaseRequest, RenewOutcome, RenewRequest,
};
use tonic::transport::{Channel, Endpoint};

mod protos {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}

type Client = LockServiceClient<Channel>;
type Failure = Box<dyn std::error::Error>;

const TTL: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 5;

/// Asks again with the same request id when the service is unavailable: whatever became of the first call, one lease.
async fn acquire(client: &mut Client, resource: &str) -> Result<(Lease, Instant), Failure> {
    let request = AcquireRequest {
        resource: resource.into(),
        owner: format!("bare-{}", std::process::id()),
        ttl: Some(TTL.try_into()?),
        wait_timeout: Some(WAIT.try_into()?),
        request_id: format!("{}-{:?}", std::process::id(), Instant::now()),
        ..Default::default()
    };
    let mut attempt = 0;
    loop {
        let sent = Instant::now();
        let mut call = tonic::Request::new(request.clone());
        call.set_timeout(WAIT + CALL);
        match client.acquire(call).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let granted = answer.outcome() == AcquireOutcome::Granted;
                let refused = format!("not granted: {:?} {:?}", answer.outcome(), answer.holder);
                return match answer.lease {
                    Some(lease) if granted => Ok((lease, sent)),
                    _ => Err(refused.into()),
                };
            }
            Err(status) if status.code() == tonic::Code::Unavailable && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

/// Returns when the lease is lost: the ttl counts from the sending of the last request that was answered, less a margin.
async fn keep(mut client: Client, lease: Lease, mut sent: Instant) -> String {
    let request = RenewRequest { resource: lease.resource.clone(), lease_id: lease.lease_id.clone(), ttl: None };
    loop {
        let ends = sent + TTL.mul_f64(0.99) - Duration::from_millis(10);
        tokio::time::sleep_until((sent + TTL / 3).into()).await;
        loop {
            let asked = Instant::now();
            if asked >= ends {
                return "it could not be renewed in time".into();
            }
            match tokio::time::timeout_at((ends).min(asked + TTL / 6).into(), client.renew(request.clone())).await {
                Ok(Ok(answer)) if answer.get_ref().outcome() == RenewOutcome::Renewed => {
                    sent = asked;
                    break;
                }
                Ok(Ok(_)) => return "it expired, or was released by force".into(),
                Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn work(token: i64) -> &'static str {
    // Longer than the ttl. The store that is written to refuses a token lower than one it has seen.
    println!("working under token {}", if token > 0 { "positive" } else { "wrong" });
    tokio::time::sleep(TTL + TTL / 3).await;
    "packed"
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let address = std::env::var("LOCKSERVICE_ADDR").unwrap_or_else(|_| "127.0.0.1:50051".into());
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    // Renewals and releases have a connection of their own: behind waiting calls they could come too late.
    let mut asking = Client::new(endpoint.connect().await?);
    let mut keeping = Client::new(endpoint.connect().await?);

    let (lease, sent) = acquire(&mut asking, "order:bare-1001").await?;
    tokio::select! {
        done = work(lease.fencing_token) => println!("{done}"),
        // Others may hold it from now on: nothing more is written, and nothing released.
        why = keep(keeping.clone(), lease.clone(), sent) => return Err(format!("the lease is lost: {why}").into()),
    }
    let release = ReleaseRequest {
        resource: lease.resource,
        lease_id: lease.lease_id,
        disposition: Disposition::Done.into(),
        hold: None,
    };
    println!("{:?}", keeping.release(release).await?.into_inner().outcome());
    Ok(())
}
