//! Transactions of which one end is on this node and the other is not.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Result, ensure};

use super::Traffic;
use super::tun::{HERE, Packet, THERE, Tun};
use crate::lab::messages::Messages;

/// The far end's port, when it is a client that keeps it.
const PORT: u16 = 40_000;
/// Ports of the far end, when each transaction has its own.
const NEW_PORTS: std::ops::Range<u16> = 10_000..60_000;

/// A client here, the server far away.
#[derive(Debug)]
pub(super) struct ClientHere {
    client: UdpSocket,
    far: Tun,
    answer: Packet,
    messages: Messages,
}

impl ClientHere {
    pub(super) fn new(port: u16) -> Result<Self> {
        let far = Tun::open()?;
        let client = UdpSocket::bind((HERE, 0))?;
        client.connect((THERE, port))?;
        let messages = Messages::new()?;
        let to = (HERE, client.local_addr()?.port());
        let answer = Packet::new((THERE, port), to, &messages.answer)?;
        Ok(Self { client, far, answer, messages })
    }
}

impl Traffic for ClientHere {
    fn once(&mut self) -> Result<()> {
        let mut buffer = [0; 512];
        self.messages.next();
        self.client.send(&self.messages.query)?;
        let query = self.far.receive(&mut buffer)?;
        ensure!(query == self.messages.query, "a packet of somebody else left");
        self.answer.set_id(self.messages.id());
        self.far.send(&self.answer)?;
        let length = self.client.recv(&mut buffer)?;
        ensure!(buffer[..length] == self.messages.answer[..], "an answer of somebody else");
        Ok(())
    }
}

/// Which flow a transaction belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flows {
    /// Always the same.
    Old,
    /// Each to one of its own.
    New,
}

/// A server here, the client far away.
#[derive(Debug)]
pub(super) struct ServerHere {
    server: UdpSocket,
    far: Tun,
    query: Packet,
    flows: Flows,
    address: Ipv4Addr,
    port: u16,
    messages: Messages,
}

impl ServerHere {
    pub(super) fn new(port: u16, flows: Flows) -> Result<Self> {
        let far = Tun::open()?;
        let server = UdpSocket::bind((HERE, port))?;
        let messages = Messages::new()?;
        let query = Packet::new((THERE, PORT), (HERE, port), &messages.query)?;
        let port = NEW_PORTS.start;
        Ok(Self { server, far, query, flows, address: THERE, port, messages })
    }

    /// The next flow.
    fn advance(&mut self) {
        self.port += 1;
        if self.port == NEW_PORTS.end {
            self.port = NEW_PORTS.start;
            self.address = Ipv4Addr::from_bits(self.address.to_bits() + 1);
        }
        self.query.set_source(self.address, self.port);
    }
}

impl Traffic for ServerHere {
    fn once(&mut self) -> Result<()> {
        let mut buffer = [0; 512];
        self.messages.next();
        if self.flows == Flows::New {
            self.advance();
        }
        self.query.set_id(self.messages.id());
        self.far.send(&self.query)?;
        let (_, from) = self.server.recv_from(&mut buffer)?;
        self.server.send_to(&self.messages.answer, from)?;
        let answer = self.far.receive(&mut buffer)?;
        ensure!(answer == self.messages.answer, "a packet of somebody else left");
        Ok(())
    }
}

/// Packets from far away that nobody here gets.
#[derive(Debug)]
pub(super) struct Dropped {
    far: Tun,
    packet: Packet,
}

impl Dropped {
    pub(super) fn new(port: u16) -> Result<Self> {
        let messages = Messages::new()?;
        let packet = Packet::new((THERE, PORT), (HERE, port), &messages.query)?;
        Ok(Self { far: Tun::open()?, packet })
    }
}

impl Traffic for Dropped {
    fn once(&mut self) -> Result<()> {
        self.far.send(&self.packet)
    }
}
