//! What happened to one query between client, node and server: a picture beside
//! each moment, and the moment in words.

use maud::{Markup, html};
use serde_json::Value;

use super::super::text::clean;
use crate::engine::{Evidence, Moment, Verdict};

/// Who takes part, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Client,
    Node,
    Server,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Client, Self::Node, Self::Server];

    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Node => "node",
            Self::Server => "server",
        }
    }

    const fn x(self) -> i32 {
        match self {
            Self::Client => 30,
            Self::Node => 90,
            Self::Server => 150,
        }
    }
}

/// How a moment is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Something passed from one to the other.
    Arrow(Lane, Lane),
    /// It ended here.
    Cross(Lane),
    /// It was seen here.
    Point(Lane),
}

fn mark(moment: &Moment<'_>) -> Mark {
    match moment {
        Moment::OtherSent(_) => Mark::Arrow(Lane::Client, Lane::Node),
        Moment::Seen(evidence) => observed(evidence),
    }
}

fn observed(evidence: &Evidence) -> Mark {
    let text = |key: &str| evidence.detail.get(key).and_then(Value::as_str);
    let is = |key: &str| evidence.detail.get(key).and_then(Value::as_bool) == Some(true);
    match text("kind") {
        Some("sent") => Mark::Arrow(Lane::Client, Lane::Node),
        Some("send-failed") => Mark::Cross(Lane::Client),
        Some("transmit") if is("leaves_node") => Mark::Arrow(Lane::Node, Lane::Server),
        Some("at-server") => Mark::Arrow(Lane::Node, Lane::Server),
        Some("icmp-error") => Mark::Arrow(Lane::Node, Lane::Client),
        Some("stray-answer") => Mark::Arrow(Lane::Server, Lane::Client),
        Some("drop") => match text("side") {
            Some("client") => Mark::Cross(Lane::Client),
            Some("server") => Mark::Cross(Lane::Server),
            _ => Mark::Cross(Lane::Node),
        },
        Some("clash") if is("resolved") => Mark::Point(Lane::Node),
        Some("clash" | "confirm-drop" | "nat-drop" | "ipvs-drop") => Mark::Cross(Lane::Node),
        _ => Mark::Point(Lane::Node),
    }
}

pub(super) fn figure(verdict: &Verdict) -> Markup {
    let moments = verdict.moments();
    let start = moments.first().map_or(verdict.query.sent, Moment::at).unix_ns();
    html! {
        figure aria-labelledby="sequence-caption" {
            figcaption id="sequence-caption" {
                "What happened, moment by moment. An arrow is a packet on its way; a cross, where it ended."
            }
            div.lanes aria-hidden="true" { @for lane in Lane::ALL { span { (lane.name()) } } }
            ol.steps {
                @for moment in &moments {
                    @let after_ms = moment.at().unix_ns().saturating_sub(start) as f64 / 1e6;
                    li.other[matches!(moment, Moment::OtherSent(_))] {
                        div.picture { (picture(mark(moment))) }
                        div.words {
                            span.when {
                                (format!("{after_ms:.3} ms"))
                                @if let Some(cpu) = moment.cpu() { ", CPU " (cpu) }
                            }
                            " " (clean(&moment.words()))
                        }
                    }
                }
            }
        }
    }
}

/// As wide as three lanes, as high as two lines of text.
fn picture(mark: Mark) -> Markup {
    const Y: i32 = 18;
    html! {
        svg viewBox="0 0 180 36" aria-hidden="true" {
            @match mark {
                Mark::Arrow(from, to) => {
                    @let (from, to) = (from.x(), to.x());
                    @let back = if to > from { -9 } else { 9 };
                    path.arrow d={ "M" (from) " " (Y) "H" (to + back) } {}
                    path.head d={ "M" (to) " " (Y) "l" (back) " -5v10z" } {}
                }
                Mark::Cross(lane) => {
                    path.cross d={ "M" (lane.x() - 8) " " (Y - 8) "l16 16m0 -16l-16 16" } {}
                }
                Mark::Point(lane) => circle.point cx=(lane.x()) cy=(Y) r="5" {},
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{output::testing::clash, time::Timestamp};

    fn evidence(detail: &Value) -> Evidence {
        Evidence {
            at: Timestamp::from_unix_ns(0),
            fact: String::new(),
            detail: detail.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn each_kind_of_evidence_is_drawn_where_it_happened() {
        use Lane::{Client, Node, Server};
        for (detail, expected) in [
            (json!({"kind": "sent"}), Mark::Arrow(Client, Node)),
            (json!({"kind": "transmit", "leaves_node": false}), Mark::Point(Node)),
            (json!({"kind": "transmit", "leaves_node": true}), Mark::Arrow(Node, Server)),
            (json!({"kind": "at-server"}), Mark::Arrow(Node, Server)),
            (json!({"kind": "drop", "netfilter": true}), Mark::Cross(Node)),
            (json!({"kind": "drop", "side": "client"}), Mark::Cross(Client)),
            (json!({"kind": "drop", "side": "server"}), Mark::Cross(Server)),
            (json!({"kind": "clash", "resolved": true}), Mark::Point(Node)),
            (json!({"kind": "clash", "resolved": false}), Mark::Cross(Node)),
            (json!({"kind": "icmp-error"}), Mark::Arrow(Node, Client)),
            (json!({"kind": "stray-answer"}), Mark::Arrow(Server, Client)),
            (json!({"kind": "of a later version"}), Mark::Point(Node)),
        ] {
            assert_eq!(observed(&evidence(&detail)), expected, "{detail}");
        }
    }

    #[test]
    fn an_arrow_points_where_it_goes() {
        let there = picture(Mark::Arrow(Lane::Client, Lane::Node)).into_string();
        assert!(there.contains(r#"d="M30 18H81""#) && there.contains(r#"d="M90 18l-9 -5v10z""#));
        let back = picture(Mark::Arrow(Lane::Server, Lane::Client)).into_string();
        assert!(back.contains(r#"d="M150 18H39""#) && back.contains(r#"d="M30 18l9 -5v10z""#));
    }

    #[test]
    fn moments_are_told_in_order_with_their_distance() {
        let mut verdict = clash();
        verdict.evidence[0].detail.insert("cpu".to_owned(), json!(3));
        let html = figure(&verdict).into_string();
        let other =
            html.find("0.000 ms</span> the other query was sent: race.test.svc. A").unwrap();
        let drop = html.find("1000.000 ms, CPU 3</span> __nf_conntrack_confirm").unwrap();
        assert!(other < drop, "{html}");
        assert_eq!(html.matches("<li").count(), 2);
    }
}
