//! Where requests go.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::routing::{any, get};

use super::guard::Refusal;
use super::{Caller, Guard, Page, WireInfo, headers};
use crate::config::{MetricsAccess, SignalingConfig};
use crate::lane::{self, Lanes};
use crate::metrics::Metrics;
use crate::switchboard::Switchboard;
use crate::tls::Identity;
use crate::{AgentToken, turn, ws};

/// What the handlers share.
pub(crate) struct AppState {
    pub(crate) guard: Guard,
    pub(crate) page: Page,
    pub(crate) switchboard: Switchboard,
    pub(crate) lanes: Lanes,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) metrics_access: MetricsAccess,
    pub(crate) agent_token: AgentToken,
    pub(crate) signaling: SignalingConfig,
    /// Told to browsers instead of the host they reached the page at.
    pub(crate) stun_host: Option<String>,
    /// For the metrics; `None` without https.
    pub(crate) identity: Option<Arc<Identity>>,
    /// For the metrics; `None` without STUN.
    pub(crate) turn: Option<turn::Controller>,
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState").finish_non_exhaustive()
    }
}

/// The address that a request came from, for routes that an embedding program adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp(pub std::net::IpAddr);

/// Routes of an embedding program.
#[derive(Default)]
pub(crate) struct ExtraRoutes {
    /// Behind the same checks as our own.
    pub(crate) checked: Option<axum::Router>,
    /// Their address holds a secret, so that methods that change something need no `X-Lanyard: 1`.
    pub(crate) secret: Option<axum::Router>,
}

/// Everything served, with the checks in front.
pub(crate) fn router(state: Arc<AppState>, extra: ExtraRoutes) -> axum::Router {
    let own = axum::Router::new()
        .route("/v1/ws", any(ws::upgrade))
        .route("/v1/relay", any(lane::upgrade))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(show_metrics))
        .fallback(show_page)
        .with_state(Arc::clone(&state));
    let checked = match extra.checked {
        Some(checked) => own.merge(checked),
        None => own,
    };
    let checked = checked.layer(axum::middleware::from_fn_with_state(Arc::clone(&state), admit));
    match extra.secret {
        Some(secret) => checked.merge(secret.layer(axum::middleware::from_fn_with_state(state, admit_by_secret))),
        None => checked,
    }
}

/// Checks who asks, and puts the protecting headers on whatever is answered.
async fn admit(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response<Body> {
    let check =
        |caller: &Caller, request: &Request| state.guard.check_change(caller, request.method(), request.headers());
    pass(&state, request, next, check).await
}

/// The same for addresses that hold a secret: no page of a stranger knows them, and programs send no header of ours.
async fn admit_by_secret(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response<Body> {
    let check = |caller: &Caller, request: &Request| {
        if request.method().is_safe() { Ok(()) } else { state.guard.check_page(caller, request.headers()) }
    };
    pass(&state, request, next, check).await
}

async fn pass(
    state: &AppState,
    mut request: Request,
    next: Next,
    check: impl FnOnce(&Caller, &Request) -> Result<(), Refusal>,
) -> Response<Body> {
    let Some(wire) = request.extensions().get::<WireInfo>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (caller, mut response) = match state.guard.identify(wire, &request) {
        Ok(caller) => {
            let known = Some(caller.clone());
            match check(&caller, &request) {
                Ok(()) => {
                    request.extensions_mut().insert(ClientIp(caller.ip));
                    request.extensions_mut().insert(caller);
                    (known, next.run(request).await)
                }
                Err(refusal) => (known, refusal.into_response()),
            }
        }
        Err(refusal) => (None, refusal.into_response()),
    };
    headers::secure(response.headers_mut(), caller.as_ref());
    state.metrics.count_response(response.status());
    response
}

async fn show_page(State(state): State<Arc<AppState>>, request: Request) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let answer = state.page.answer(request.uri().path(), request.headers());
    answer.unwrap_or_else(|| (StatusCode::NOT_FOUND, "There is nothing here.\n").into_response())
}

async fn show_metrics(State(state): State<Arc<AppState>>, Extension(caller): Extension<Caller>) -> Response<Body> {
    let allowed = match state.metrics_access {
        MetricsAccess::Off => false,
        MetricsAccess::Loopback => caller.is_loopback,
        MetricsAccess::All => true,
    };
    if !allowed {
        return (StatusCode::NOT_FOUND, "There is nothing here.\n").into_response();
    }
    let Some(signaling) = state.switchboard.snapshot().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "This server is stopping.\n").into_response();
    };
    let turn = match &state.turn {
        Some(turn) => turn.snapshot().await,
        None => None,
    };
    let certificate_until = state.identity.as_ref().and_then(|identity| identity.validity()).map(|(_, until)| until);
    let turn = turn.unwrap_or_default();
    let text = state.metrics.render(&signaling, state.lanes.sockets(), &turn, certificate_until);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let status = match self {
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::ForeignPage => StatusCode::FORBIDDEN,
        };
        (status, format!("{self}\n")).into_response()
    }
}
