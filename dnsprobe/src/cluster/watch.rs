//! Lists one kind of object and then watches it, for as long as the program runs.
//! Whatever goes wrong, what is known stays, and it is tried again.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    access::Access,
    client::ClientError,
    lines::Lines,
    mirror::{Kind, Mirror},
    object::List,
};

/// How long a watch may send nothing: the server sends a bookmark each minute.
pub(super) const SILENCE: Duration = Duration::from_secs(150);
/// After that the server ends a watch by itself, and it goes on in a new one.
const WATCH_SECONDS: u32 = 300;
/// Objects in a page of a list.
const PAGE: u32 = 500;
/// Pages of a list; more than any cluster has.
const PAGES: usize = 1_000;
/// Failures in a row after which a watch starts anew from a list.
const FAILURES: u32 = 3;

/// How long to wait after a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// After the first one; doubled each time.
    pub(super) first: Duration,
    /// At most.
    pub(super) longest: Duration,
}

/// What has just happened to a mirror.
#[derive(Debug)]
pub(super) enum Step {
    /// It was made anew: what happened before is not known.
    Listed,
    /// It goes on from where it stood.
    Watching,
    /// An object came, went or changed.
    Changed,
    /// It may be old from here on.
    Failed(ClientError),
}

/// A list as a place in the API.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `/api/v1/services`.
    pub(super) path: &'static str,
    /// Further parameters, without the character between.
    pub(super) filter: Option<String>,
}

impl Place {
    fn url(&self, parameters: &str) -> String {
        let filter = self.filter.as_deref().map(|filter| format!("{filter}&")).unwrap_or_default();
        format!("{}?{filter}{parameters}", self.path)
    }
}

/// Follows a kind of object, for ever. `anew` asks for a new list.
pub(super) async fn follow<K: Kind>(
    access: &Access,
    place: &Place,
    patience: Patience,
    anew: &Notify,
    keep: impl Fn(&K) -> Option<K::Kept>,
    mut tell: impl FnMut(&Mirror<K>, Step),
) {
    let mut mirror: Mirror<K> = Mirror::new();
    let mut failures = 0;
    let pause = |failures: u32| {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        sleep(patience.first.saturating_mul(factor).min(patience.longest))
    };
    loop {
        match list(access, place, &keep).await {
            Ok(listed) => mirror = listed,
            Err(error) => {
                failures += 1;
                tell(&mirror, Step::Failed(error));
                pause(failures).await;
                continue;
            }
        }
        failures = 0;
        tell(&mirror, Step::Listed);
        loop {
            let watched = tokio::select! {
                watched = watch(access, place, &mut mirror, &keep, &mut tell) => watched,
                () = anew.notified() => break,
            };
            match watched {
                // The server ends each watch once in a while.
                Ok(events) => {
                    if events > 0 {
                        failures = 0;
                    }
                    // One that ends at once is no reason to hurry.
                    sleep(patience.first / 10).await;
                }
                Err(ClientError::Gone) => break,
                Err(error) => {
                    failures += 1;
                    tell(&mirror, Step::Failed(error));
                    pause(failures).await;
                    if failures % FAILURES == 0 {
                        break;
                    }
                }
            }
        }
    }
}

/// Every page of a list.
async fn list<K: Kind>(
    access: &Access,
    place: &Place,
    keep: &impl Fn(&K) -> Option<K::Kept>,
) -> Result<Mirror<K>, ClientError> {
    let mut mirror = Mirror::new();
    let mut more = String::new();
    for _ in 0..PAGES {
        let url = place.url(&format!("limit={PAGE}{more}"));
        let bytes = access.get_all(&url).await?;
        let page: List<K> = serde_json::from_slice(&bytes).map_err(ClientError::Garbage)?;
        if !page.is_list() {
            return Err(ClientError::NoList);
        }
        for object in page.items.iter().flatten() {
            mirror.put(object, keep);
        }
        match page.metadata.more.filter(|more| !more.is_empty()) {
            Some(token) => more = format!("&continue={}", in_url(&token)),
            None => {
                mirror.listed(page.metadata.resource_version);
                return Ok(mirror);
            }
        }
    }
    Err(ClientError::TooLarge)
}

/// One watch until it ends; how many events it brought.
async fn watch<K: Kind>(
    access: &Access,
    place: &Place,
    mirror: &mut Mirror<K>,
    keep: &impl Fn(&K) -> Option<K::Kept>,
    tell: &mut impl FnMut(&Mirror<K>, Step),
) -> Result<u64, ClientError> {
    let url = place.url(&format!(
        "watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}",
        in_url(mirror.version())
    ));
    let mut body = access.get(&url).await?;
    tell(mirror, Step::Watching);
    let mut lines = Lines::default();
    let mut events = 0;
    while let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(|_| ClientError::Silent)? {
        let Ok(data) = frame?.into_data() else { continue };
        let mut changed = false;
        let mut outcome = Ok(());
        let whole = lines.add(&data, |line| {
            if outcome.is_err() {
                return;
            }
            match mirror.event(line, keep) {
                Ok(one) => {
                    events += 1;
                    changed |= one;
                }
                Err(error) => outcome = Err(error),
            }
        });
        if changed {
            tell(mirror, Step::Changed);
        }
        outcome?;
        whole.map_err(|_| ClientError::EventTooLarge)?;
    }
    Ok(events)
}

/// Text as a part of a URL.
pub(super) fn in_url(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_gives_comes_back_to_it_escaped() {
        assert_eq!(in_url("eyJ2Ijoi/+=&"), "eyJ2Ijoi%2F%2B%3D%26");
        let place = Place { path: "/api/v1/pods", filter: Some("fieldSelector=a%3Db".to_owned()) };
        assert_eq!(place.url("limit=1"), "/api/v1/pods?fieldSelector=a%3Db&limit=1");
        assert_eq!(Place { filter: None, ..place }.url("x=1"), "/api/v1/pods?x=1");
    }
}
