//! `autopath-suspect`: an answer that belongs to another name than was asked.
//! evidence: the answer's first record is an address or an alias of another
//!           name than the question's; or a name exists that cannot: one with a
//!           search suffix behind more labels than a name of the cluster has
//! not this: a headless Service's pod (two labels in front of the namespace),
//!           SRV names (labels that start with an underscore), an answer without
//!           records

use super::internal_name_missing::Zone;
use crate::{
    dns::{Name, QType, Question},
    findings::{
        Code, FindingCode,
        books::{Books, Sighting},
        join::Joined,
    },
};

/// Notes an answer under a wrong name.
pub(in crate::findings) fn sight(joined: &Joined<'_>, zone: &Zone, books: &mut Books) {
    let client = joined.client;
    let Some(question) = &client.query.question else { return };
    if client.rcode != Some(0) || ![QType::A, QType::AAAA].contains(&question.qtype) {
        return;
    }
    let Some(record) = &client.answer else { return };
    if !record.answers_for_addresses() {
        return;
    }
    let Some(why) = suspicion(question, &record.name, zone) else { return };
    let sighting = Sighting {
        code: Code::Finding(FindingCode::AutopathSuspect),
        subject: "",
        owner: &client.owner,
        at: joined.at(),
        item: Some(question.name.to_string()),
    };
    books.add(sighting, || format!("{}; {why}", joined.describe()));
}

fn suspicion(question: &Question, answered: &Name, zone: &Zone) -> Option<String> {
    if question.name != *answered {
        return Some(format!("the answer is for {answered}"));
    }
    let base = zone.external_base(&question.name)?;
    Some(format!("{base} is no name of the cluster, yet it exists with a search suffix"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(asked: &str, answered: &str) -> bool {
        let question = Question { name: asked.parse().unwrap(), qtype: QType::A };
        suspicion(&question, &answered.parse().unwrap(), &Zone::default()).is_some()
    }

    #[test]
    fn an_answer_for_another_name_is_suspect() {
        assert!(suspect("www.example.com.", "db.shop.svc.cluster.local."));
        assert!(!suspect("www.example.com.", "WWW.example.com."));
    }

    #[test]
    fn an_external_name_that_exists_with_a_suffix_is_suspect() {
        let same = |name: &str| suspect(name, name);
        assert!(same("www.example.com.shop.svc.cluster.local."));
        assert!(!same("www.example.com.svc.cluster.local."));
        assert!(!same("www.example.com.cluster.local."));
        assert!(!same("cart.shop.svc.cluster.local."));
        assert!(!same("web-0.nginx.shop.svc.cluster.local."));
        assert!(!same("_http._tcp.web.shop.svc.cluster.local."));
        assert!(!same("10-244-0-1.shop.pod.cluster.local."));
    }
}
