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

/// Everything served, with the checks in front. `extra` routes stand behind the same checks.
pub(crate) fn router(state: Arc<AppState>, extra: Option<axum::Router>) -> axum::Router {
    let own = axum::Router::new()
        .route("/v1/ws", any(ws::upgrade))
        .route("/v1/relay", any(lane::upgrade))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(show_metrics))
        .fallback(show_page)
        .with_state(Arc::clone(&state));
    let all = match extra {
        Some(extra) => own.merge(extra),
        None => own,
    };
    all.layer(axum::middleware::from_fn_with_state(state, admit))
}

/// Checks who asks, and puts the protecting headers on whatever is answered.
async fn admit(State(state): State<Arc<AppState>>, mut request: Request, next: Next) -> Response<Body> {
    let Some(wire) = request.extensions().get::<WireInfo>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (caller, mut response) = match state.guard.identify(wire, &request) {
        Ok(caller) => {
            let known = Some(caller.clone());
            match state.guard.check_change(&caller, request.method(), request.headers()) {
                Ok(()) => {
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
