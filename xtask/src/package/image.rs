//! The container image, as an archive by OCI's image layout 1.0: one layer that holds
//! dnsprobe, and the configuration that deploy/Dockerfile gives.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::archive::{Archive, sha256};
use super::{ARCHITECTURE, VERSION, output};
use crate::workspace::Workspace;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub(super) fn build(workspace: &Workspace, binary: &Path) -> Result<PathBuf> {
    let program = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let path = output(workspace, "oci.tar")?;
    fs::write(&path, archive(&program)?)?;
    Ok(path)
}

fn archive(program: &[u8]) -> Result<Vec<u8>> {
    let mut layer = Archive::new();
    layer.file("dnsprobe", 0o755, program)?;
    let layer = layer.finish()?;
    let configuration = serde_json::to_vec(&configuration(&sha256(&layer)))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIGURATION, &configuration),
        "layers": [descriptor(LAYER, &layer)],
    }))?;
    let mut in_index = descriptor(MANIFEST, &manifest);
    in_index["annotations"] = json!({
        "org.opencontainers.image.ref.name": VERSION,
        // What `ctr image import` calls it.
        "io.containerd.image.name": format!("docker.io/library/dnsprobe:{VERSION}"),
    });
    let index = json!({ "schemaVersion": 2, "manifests": [in_index] });
    let mut whole = Archive::new();
    whole.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    whole.file("index.json", 0o644, &serde_json::to_vec(&index)?)?;
    for blob in [&manifest, &configuration, &layer] {
        whole.file(&format!("blobs/sha256/{}", sha256(blob)), 0o644, blob)?;
    }
    whole.finish()
}

fn configuration(layer: &str) -> Value {
    json!({
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {
            "User": "0:0",
            "Entrypoint": ["/dnsprobe"],
            "Cmd": ["serve"],
            "Labels": {
                "org.opencontainers.image.title": "dnsprobe",
                "org.opencontainers.image.version": VERSION,
                "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
    })
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    let digest = format!("sha256:{}", sha256(blob));
    json!({ "mediaType": kind, "digest": digest, "size": blob.len() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn every_reference_leads_to_its_blob() {
        let image = archive(b"program").unwrap();
        let files = files(&image);
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let bytes = &files[&digest.replace("sha256:", "blobs/sha256/")];
            assert_eq!(digest, format!("sha256:{}", sha256(bytes)));
            assert_eq!(descriptor["size"].as_u64(), Some(bytes.len() as u64));
            bytes
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(blob(&index["manifests"][0])).unwrap();
        let configuration: Value = serde_json::from_slice(blob(&manifest["config"])).unwrap();
        let layer = blob(&manifest["layers"][0]);
        let id = format!("sha256:{}", sha256(layer));
        assert_eq!(configuration["rootfs"]["diff_ids"], json!([id]));
        assert_eq!(self::files(layer)["dnsprobe"], b"program");
    }

    #[test]
    fn it_says_what_the_dockerfile_says() {
        let dockerfile = include_str!("../../../deploy/Dockerfile");
        let config = &configuration("")["config"];
        for (instruction, value) in [("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd")] {
            let line = format!("{instruction} {}", config[value]);
            assert!(dockerfile.lines().any(|own| own == line), "{line}");
        }
        let user = config["User"].as_str().unwrap();
        assert!(dockerfile.contains(&format!("\nUSER {user}\n")));
    }
}
