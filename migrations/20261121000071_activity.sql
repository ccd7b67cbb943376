-- What wallets did, as watched events say it: the transaction history of a wallet, and of a protocol.
CREATE TABLE activity (
    chain_id         text        NOT NULL,
    from_block       bigint      NOT NULL,
    to_block         bigint      NOT NULL,
    from_seq         bigint      NOT NULL,
    to_seq           bigint      NOT NULL,
    branch_epoch     integer     NOT NULL,
    block_hash       bytea       NOT NULL,
    occurred_at      timestamptz NOT NULL,
    protocol         text        NOT NULL,
    kind             text        NOT NULL,
    contract         bytea       NOT NULL,
    wallet           bytea       NOT NULL,
    counterparty     bytea,
    token            bytea,
    amount           numeric(78) NOT NULL,
    counter_token    bytea,
    counter_amount   numeric(78),
    transaction_hash bytea       NOT NULL,
    event_index      integer     NOT NULL,
    ordinal          smallint    NOT NULL CHECK (ordinal BETWEEN 0 AND 15),
    place            bigint      NOT NULL CHECK (place = from_seq * 16 + ordinal),
    PRIMARY KEY (place)
);
COMMENT ON TABLE activity IS 'One row for each thing that a watched event says a wallet did; from_seq is the chain.event entry, to_seq is set when its block is reverted';
COMMENT ON COLUMN activity.kind IS 'deposit, withdrawal, borrow, repay, liquidation, swap';
COMMENT ON COLUMN activity.contract IS 'the contract that emitted the event';
COMMENT ON COLUMN activity.wallet IS 'the account that the event names as acting; a router is an account too';
COMMENT ON COLUMN activity.counterparty IS 'the other account that the event names, such as the one that is liquidated';
COMMENT ON COLUMN activity.token IS 'null where neither the event nor the registry names it';
COMMENT ON COLUMN activity.amount IS 'in the smallest unit of token; of a swap, what was paid in';
COMMENT ON COLUMN activity.counter_amount IS 'in the smallest unit of counter_token; of a swap, what came out';
COMMENT ON COLUMN activity.ordinal IS 'place among the activities of one event, from 0';
COMMENT ON COLUMN activity.place IS 'from_seq * 16 + ordinal: with from_block the order of pages';

-- Pages, newest or oldest first. The first also finds the rows of reverted blocks.
CREATE INDEX activity_place_idx ON activity (chain_id, from_block, place);
CREATE INDEX activity_wallet_idx ON activity (chain_id, wallet, from_block, place);
CREATE INDEX activity_protocol_idx ON activity (chain_id, protocol, from_block, place);
CREATE INDEX activity_wallet_protocol_idx ON activity (chain_id, wallet, protocol, from_block, place);

ALTER TABLE activity OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON activity TO obsqra_writer;
GRANT SELECT ON activity TO obsqra_reader;
