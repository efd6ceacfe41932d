//! Which names a resolver really asks for when a program wants one: the search
//! list at work.

use super::{Effective, Libc};
use crate::dns::{Name, NameError};

impl Effective {
    /// The names asked one after the other until one has an answer.
    ///
    /// A name that ends in a dot is asked as it is. glibc (`res_query.c`,
    /// `__res_context_search`) asks a name with `ndots` dots or more as it is
    /// first and then with each suffix; musl (`lookup_name.c`, `name_from_dns_search`)
    /// asks it as it is only. Names with fewer dots go through the suffixes
    /// first, in both. What is too long with a suffix is left out.
    ///
    /// # Errors
    /// When `text` is no domain name.
    pub fn names(&self, text: &str, libc: Libc) -> Result<Vec<Name>, NameError> {
        let name: Name = text.parse()?;
        if text.ends_with('.') {
            return Ok(vec![name]);
        }
        let dots = text.bytes().filter(|&byte| byte == b'.').count();
        let as_it_is_first = dots >= usize::try_from(self.ndots).unwrap_or(usize::MAX);
        if as_it_is_first && libc == Libc::Musl {
            return Ok(vec![name]);
        }
        let mut names: Vec<Name> =
            self.search.iter().filter_map(|suffix| name.with_suffix(suffix).ok()).collect();
        let place = if as_it_is_first { 0 } else { names.len() };
        names.insert(place, name);
        // A suffix `.` repeats the name itself; glibc asks it once.
        let mut seen = Vec::with_capacity(names.len());
        names.retain(|name| {
            !seen.contains(name) && {
                seen.push(name.clone());
                true
            }
        });
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::resolv_conf::ResolvConf;

    const POD: &str =
        "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

    fn names(conf: &str, text: &str, libc: Libc) -> Vec<String> {
        let effective = ResolvConf::parse(conf.as_bytes()).effective(libc);
        effective.names(text, libc).unwrap().iter().map(Name::to_string).collect()
    }

    #[test]
    fn an_external_name_costs_a_pod_four_names() {
        for libc in [Libc::Glibc, Libc::Musl] {
            assert_eq!(
                names(POD, "example.com", libc),
                [
                    "example.com.shop.svc.cluster.local.",
                    "example.com.svc.cluster.local.",
                    "example.com.cluster.local.",
                    "example.com."
                ]
            );
        }
    }

    #[test]
    fn a_dot_at_the_end_costs_one() {
        assert_eq!(names(POD, "example.com.", Libc::Glibc), ["example.com."]);
    }

    #[test]
    fn enough_dots_put_the_name_itself_first_and_musl_leaves_it_at_that() {
        let conf = "search a.example\noptions ndots:1\n";
        assert_eq!(names(conf, "x.y", Libc::Glibc), ["x.y.", "x.y.a.example."]);
        assert_eq!(names(conf, "x.y", Libc::Musl), ["x.y."]);
        assert_eq!(names(conf, "x", Libc::Musl), ["x.a.example.", "x."]);
    }

    #[test]
    fn the_root_as_suffix_adds_nothing() {
        assert_eq!(names("search .\noptions ndots:5", "x.y", Libc::Glibc), ["x.y."]);
    }

    #[test]
    fn a_suffix_that_makes_the_name_too_long_is_left_out() {
        let long = vec!["abcdefghi"; 20].join(".");
        let conf = format!("search {long} b\noptions ndots:50");
        assert_eq!(names(&conf, &long, Libc::Glibc).len(), 2);
    }
}
