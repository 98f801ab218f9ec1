//! Kills and pauses, at moments that the seed decides.

use crate::{balancer::Balancer, processes::Service, stage::LEASE};
use anyhow::Result;
use chartwire::kernel::{SeededEntropy, entropy::below};
use jiff::Timestamp;
use std::time::Duration;

/// How long a service is left in peace, in milliseconds.
const PEACE: (u64, u64) = (300, 3_000);
/// Of a hundred kills so many are followed by another before the service is up again.
const WHILE_IT_STARTS: u64 = 20;
/// Of a hundred blows to one of two services so many are pauses.
const PAUSES: u64 = 25;
/// How long it takes a balancer to notice that a service does not answer.
const NOTICED_AFTER: Duration = Duration::from_secs(1);

/// What was done to the services.
#[derive(Default)]
pub(crate) struct Blows {
    pub(crate) kills: u32,
    /// Kills of services that were not up yet.
    pub(crate) in_start: u32,
    pub(crate) pauses: u32,
    /// When each was.
    pub(crate) at: Vec<Timestamp>,
}

/// Whoever does it.
pub(crate) struct Mayhem {
    chance: SeededEntropy,
    http: reqwest::Client,
    pub(crate) blows: Blows,
}

impl Mayhem {
    pub(crate) fn new(chance: SeededEntropy, http: reqwest::Client) -> Self {
        Self { chance, http, blows: Blows::default() }
    }

    /// Deals out `most` blows. All services are up at the end.
    pub(crate) async fn rage(
        &mut self,
        services: &mut [Service],
        balancer: Option<&Balancer>,
        most: u32,
    ) -> Result<()> {
        while self.blows.kills + self.blows.pauses < most {
            self.wait(PEACE).await;
            let victim = usize::try_from(below(&self.chance, services.len() as u64))?;
            let victim = &mut services[victim];
            match balancer {
                Some(balancer) if below(&self.chance, 100) < PAUSES => self.pause(victim, balancer).await?,
                _ => self.kill(victim, most).await?,
            }
        }
        Ok(())
    }

    async fn kill(&mut self, victim: &mut Service, most: u32) -> Result<()> {
        self.blow(victim);
        self.wait((0, 400)).await;
        victim.start()?;
        if self.blows.kills + self.blows.pauses < most && below(&self.chance, 100) < WHILE_IT_STARTS {
            self.wait((0, 600)).await;
            self.blow(victim);
            self.blows.in_start += 1;
            victim.start()?;
        }
        victim.ready(&self.http).await
    }

    fn blow(&mut self, victim: &mut Service) {
        self.blows.at.push(Timestamp::now());
        victim.kill();
        self.blows.kills += 1;
    }

    /// Past its leases: the other service takes over what this one has in hand.
    async fn pause(&mut self, victim: &mut Service, balancer: &Balancer) -> Result<()> {
        self.blows.at.push(Timestamp::now());
        self.blows.pauses += 1;
        victim.pause()?;
        tokio::time::sleep(NOTICED_AFTER).await;
        balancer.rotate(victim.address, false);
        self.wait(((LEASE + 1) * 1_000, (LEASE + 6) * 1_000)).await;
        victim.go_on()?;
        balancer.rotate(victim.address, true);
        victim.ready(&self.http).await
    }

    async fn wait(&self, (least, most): (u64, u64)) {
        tokio::time::sleep(Duration::from_millis(least + below(&self.chance, most - least))).await;
    }
}
