-- What the connector writes: a row for each key ever seen, without an entity once it is gone.
CREATE TABLE IF NOT EXISTS reservation_row (id uuid PRIMARY KEY, entity jsonb);

CREATE OR REPLACE VIEW reservation AS
SELECT id, entity ->> 'State' AS state, (entity ->> 'UpdatedUtc')::timestamptz AS updated_utc, entity
FROM reservation_row
WHERE entity IS NOT NULL;
