//! A transaction over loopback: four socket operations in one process, so that
//! no scheduling comes between them. The client's socket is connected, as glibc's
//! resolver has it.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Result, ensure};

use super::Traffic;
use crate::lab::messages::Messages;

/// Client and server.
#[derive(Debug)]
pub(super) struct PingPong {
    client: UdpSocket,
    server: UdpSocket,
    messages: Messages,
}

impl PingPong {
    pub(super) fn new(port: u16) -> Result<Self> {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        client.connect(server.local_addr()?)?;
        Ok(Self { client, server, messages: Messages::new()? })
    }
}

impl Traffic for PingPong {
    fn once(&mut self) -> Result<()> {
        let mut buffer = [0; 512];
        self.messages.next();
        self.client.send(&self.messages.query)?;
        let (_, from) = self.server.recv_from(&mut buffer)?;
        self.server.send_to(&self.messages.answer, from)?;
        let length = self.client.recv(&mut buffer)?;
        ensure!(buffer[..length] == self.messages.answer[..], "an answer of somebody else");
        Ok(())
    }
}
