-- Watched events that fit no layout: few beside the rest, counted at each start of the projector.
CREATE INDEX event_misfit_idx ON event (chain_id, protocol)
    WHERE name IS NULL AND to_seq = 9223372036854775807;
