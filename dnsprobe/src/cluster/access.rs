//! How to reach the API server: as a pod does, or by a kubeconfig.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde::Deserialize;

/// See [`Access::limit`].
const LIMIT: Duration = Duration::from_secs(10);
/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API server and what proves who we are.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// Host name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands before every path.
    pub(super) prefix: String,
    /// `None`: without encryption.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) token: Token,
    /// For a connection, for the beginning of an answer, and for each further part
    /// of a list.
    pub(super) limit: Duration,
}

/// A bearer token.
#[derive(Clone)]
pub(super) enum Token {
    None,
    Text(String),
    /// Read for each connection: it is replaced before it expires.
    File(PathBuf),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Why there is no access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Not in a pod.
    #[error("this is no pod with a service account ({0}); give a file: --kube-api=KUBECONFIG")]
    NotInCluster(String),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The kubeconfig is none.
    #[error("{path} is no kubeconfig: {reason}")]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It asks for something that dnsprobe does not do.
    #[error("{path}: {what}")]
    Unsupported {
        /// Which file.
        path: String,
        /// What, and what to do instead.
        what: &'static str,
    },
    /// Certificates or keys cannot be used.
    #[error("certificates cannot be used: {0}")]
    Certificates(String),
}

/// A kubeconfig, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: String,
    clusters: Vec<Named<Cluster>>,
    contexts: Vec<Named<Context>>,
    users: Vec<Named<User>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named<T> {
    name: String,
    #[serde(alias = "cluster", alias = "context", alias = "user")]
    value: T,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    exec: Option<serde_json::Value>,
    username: Option<String>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User")
    }
}

impl Access {
    /// As a pod: by its service account.
    ///
    /// # Errors
    /// When this is no pod, or its files cannot be used.
    pub(super) fn in_cluster() -> Result<Self, AccessError> {
        let variable = |name: &str| {
            env::var(name).map_err(|_| AccessError::NotInCluster(format!("${name} is not set")))
        };
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let port = variable("KUBERNETES_SERVICE_PORT")?;
        let port = port
            .parse()
            .map_err(|_| AccessError::NotInCluster("its port is no number".to_owned()))?;
        let account = Path::new(SERVICE_ACCOUNT);
        let authority = read(&account.join("ca.crt"))?;
        let config = tls_config(&authority, None)?;
        let name = server_name(&host)?;
        let token = Token::File(account.join("token"));
        let tls = Some((Arc::new(config), name));
        Ok(Self { host, port, prefix: String::new(), tls, token, limit: LIMIT })
    }

    /// By the current context of a kubeconfig.
    ///
    /// # Errors
    /// When it cannot be read or wants something that is not supported: a plug-in,
    /// a password, no check of certificates.
    pub(super) fn from_kubeconfig(path: &Path) -> Result<Self, AccessError> {
        let shown = path.display().to_string();
        let malformed = |reason: String| AccessError::Malformed { path: shown.clone(), reason };
        let unsupported = |what| AccessError::Unsupported { path: shown.clone(), what };
        let text = String::from_utf8(read(path)?).map_err(|error| malformed(error.to_string()))?;
        let config: Kubeconfig =
            serde_saphyr::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let context = find(&config.contexts, &config.current_context)
            .ok_or_else(|| malformed("its current context is not in it".to_owned()))?;
        let cluster = find(&config.clusters, &context.cluster)
            .ok_or_else(|| malformed("the context's cluster is not in it".to_owned()))?;
        let user = find(&config.users, &context.user).unwrap_or_default();
        if user.exec.is_some() || user.username.is_some() {
            return Err(unsupported(
                "plug-ins and passwords are not supported; use a token or a client certificate",
            ));
        }
        if cluster.insecure_skip_tls_verify {
            return Err(unsupported(
                "insecure-skip-tls-verify is not supported; give certificate-authority",
            ));
        }
        let beside = |file: &Path| path.parent().unwrap_or(Path::new("")).join(file);
        let (encrypted, host, port, prefix) = split_url(&cluster.server)
            .ok_or_else(|| malformed("the cluster's server is no URL".to_owned()))?;
        let data = |file: &Option<PathBuf>, inline: &Option<String>| match (inline, file) {
            (Some(inline), _) => base64(inline)
                .ok_or_else(|| malformed("certificate data is no base64".to_owned()))
                .map(Some),
            (None, Some(file)) => read(&beside(file)).map(Some),
            (None, None) => Ok(None),
        };
        let tls = if encrypted {
            let authority =
                data(&cluster.certificate_authority, &cluster.certificate_authority_data)?
                    .ok_or_else(|| unsupported("certificate-authority is missing"))?;
            let certificate = data(&user.client_certificate, &user.client_certificate_data)?;
            let key = data(&user.client_key, &user.client_key_data)?;
            let config = tls_config(&authority, certificate.zip(key).as_ref())?;
            let name = server_name(cluster.tls_server_name.as_deref().unwrap_or(&host))?;
            Some((Arc::new(config), name))
        } else {
            None
        };
        let token = match (user.token, user.token_file) {
            (Some(token), _) => Token::Text(token),
            (None, Some(file)) => Token::File(beside(&file)),
            (None, None) => Token::None,
        };
        Ok(Self { host, port, prefix, tls, token, limit: LIMIT })
    }

    /// The token as it is now.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(super) fn token(&self) -> std::io::Result<Option<String>> {
        match &self.token {
            Token::None => Ok(None),
            Token::Text(token) => Ok(Some(token.clone())),
            Token::File(file) => Ok(Some(fs::read_to_string(file)?.trim().to_owned())),
        }
    }
}

fn find<T: Clone>(all: &[Named<T>], name: &str) -> Option<T> {
    all.iter().find(|one| one.name == name).map(|one| one.value.clone())
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    fs::read(path).map_err(|source| AccessError::Read { path: path.display().to_string(), source })
}

/// Encrypted or not, host, port, path.
fn split_url(url: &str) -> Option<(bool, String, u16, String)> {
    let (encrypted, rest) = match url.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, if encrypted { 443 } else { 80 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let path = path.trim_end_matches('/');
    let prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
    (!host.is_empty()).then(|| (encrypted, host.to_owned(), port, prefix))
}

fn server_name(host: &str) -> Result<ServerName<'static>, AccessError> {
    ServerName::try_from(host.to_owned())
        .map_err(|error| AccessError::Certificates(format!("{host}: {error}")))
}

fn tls_config(
    authority: &[u8],
    client: Option<&(Vec<u8>, Vec<u8>)>,
) -> Result<ClientConfig, AccessError> {
    let unusable = |error: &dyn std::fmt::Display| AccessError::Certificates(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = client else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable(&error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unusable(&error))
}

/// Standard base64, which some tools break into lines.
fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scratch;

    fn access(text: &str) -> Result<Access, AccessError> {
        let directory = scratch("kubeconfig");
        let file = directory.join("config");
        fs::write(&file, text).unwrap();
        let access = Access::from_kubeconfig(&file);
        fs::remove_dir_all(directory).unwrap();
        access
    }

    fn config(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
             contexts:\n- name: two\n  context: {{cluster: x, user: y}}\n\
             - name: one\n  context: {{cluster: a, user: b}}\n\
             clusters:\n- name: a\n  cluster: {{{cluster}}}\n\
             users:\n- name: b\n  user: {{{user}}}\n"
        )
    }

    #[test]
    fn the_current_context_says_where_and_by_which_token() {
        let found = access(&config("server: 'http://[::1]:8001/prefix/'", "token: abc")).unwrap();
        assert_eq!((found.host.as_str(), found.port), ("::1", 8001));
        assert_eq!(found.prefix, "/prefix");
        assert!(found.tls.is_none());
        assert_eq!(found.token().unwrap().as_deref(), Some("abc"));
        assert!(!format!("{found:?}").contains("abc"), "a token is in no message");
    }

    #[test]
    fn what_is_not_supported_is_refused_with_what_to_do() {
        for (cluster, user, said) in [
            ("server: 'https://a'", "token: x", "certificate-authority is missing"),
            (
                "server: 'https://a', insecure-skip-tls-verify: true",
                "token: x",
                "insecure-skip-tls-verify",
            ),
            ("server: 'http://a'", "exec: {command: aws}", "plug-ins"),
            ("server: 'http://a'", "username: x", "passwords"),
            ("server: 'ftp://a'", "token: x", "no URL"),
            ("server: 'https://a', certificate-authority-data: '!'", "token: x", "base64"),
            ("server: 'https://a', certificate-authority: /nowhere", "token: x", "/nowhere"),
        ] {
            let error = access(&config(cluster, user)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        for text in ["", "{", "current-context: one", "- 1", "\u{0}"] {
            assert!(access(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_url_gives_host_and_port() {
        let split = |url| {
            split_url(url).map(|(tls, host, port, path)| format!("{tls} {host} {port} {path}"))
        };
        assert_eq!(split("https://10.0.0.1").as_deref(), Some("true 10.0.0.1 443 "));
        assert_eq!(split("https://api.x:6443/").as_deref(), Some("true api.x 6443 "));
        assert_eq!(split("https://[fd00::1]/k8s/c").as_deref(), Some("true fd00::1 443 /k8s/c"));
        for url in ["", "https://", "api:6443", "https://a:x"] {
            assert_eq!(split(url), None, "{url}");
        }
    }
}
