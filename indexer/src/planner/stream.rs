//! A source that sends blocks unasked. A stream names the fork itself when the chain is replaced, but
//! nothing is reverted until a competing block with a valid parent is there.

use obsqra_types::BlockHash;

use super::{After, BlockId, BlockLink, Effect, Offer, Phase, Planner, Trouble, continues};

impl Planner {
    pub(super) fn streamed(
        &mut self,
        offer: Offer,
        own: Option<BlockHash>,
        own_below: Option<BlockHash>,
    ) -> Vec<Effect> {
        let link = offer.link;
        let below = self.held.last().map(|held| held.link.id).or(self.position.tip);
        let next = match below {
            Some(below) => continues(link, below),
            None => link.id.number == self.position.first,
        };
        if next {
            return self.hold(offer, After::Stream);
        }
        if !self.held.is_empty() {
            let mut effects = self.append(After::Stream);
            effects.push(Effect::OfferAgain);
            return effects;
        }
        if own == Some(link.id.hash) {
            return vec![Effect::Drop];
        }
        self.competing(offer, own_below)
    }

    /// A block that does not continue the tip: another branch, if it links to a block of the log.
    fn competing(&mut self, offer: Offer, own_below: Option<BlockHash>) -> Vec<Effect> {
        let link = offer.link;
        let tip = self.position.tip.map(|tip| tip.number);
        let Some(fork) = link.id.number.previous().filter(|fork| Some(*fork) < tip) else {
            let below = self.position.tip.map_or(link.parent, |tip| tip.hash);
            return self.fail(Trouble::Unlinked { block: link, below });
        };
        match own_below {
            Some(own) if own == link.parent => {
                if let Some(finalized) = self.position.finalized.filter(|known| fork < *known) {
                    let number = link.id.number;
                    return self.fail(Trouble::BelowFinal { number, finalized });
                }
                self.held.push(offer);
                self.phase = Phase::Committing(After::Stream);
                let fork = BlockId { number: fork, hash: own };
                vec![Effect::Replace { fork, blocks: 1 }]
            }
            None if link.id.number == self.position.first => {
                self.fail(Trouble::NoCommonBlock { first: self.position.first })
            }
            own => self.fail(Trouble::Unlinked { block: link, below: own.unwrap_or(link.parent) }),
        }
    }

    pub(super) fn invalidated(&mut self, to: BlockId, own: Option<BlockHash>) -> Vec<Effect> {
        let stays = self.held.iter().take_while(|held| held.link.id.number <= to.number).count();
        self.held.truncate(stays);
        if stays > 0 {
            self.phase = Phase::Committing(After::Stream);
            return vec![Effect::Append { blocks: stays }, Effect::Drop];
        }
        if let Some(finalized) = self.position.finalized.filter(|known| to.number < *known) {
            return self.fail(Trouble::BelowFinal { number: to.number.next(), finalized });
        }
        match own {
            Some(own) if own != to.hash => {
                let block = BlockLink { id: to, parent: to.hash };
                self.fail(Trouble::Unlinked { block, below: own })
            }
            _ => vec![Effect::Drop],
        }
    }

    pub(super) fn pause(&mut self) -> Vec<Effect> {
        if self.held.is_empty() { Vec::new() } else { self.append(After::Stream) }
    }
}
