-- What people ask of the tables, each as a view. It can be run again at any time.

-- The points of each member and wallet, by the ledger alone.
CREATE OR REPLACE VIEW member_balances AS
SELECT DISTINCT ON (member_id, wallet)
    member_id,
    wallet,
    sum(delta) OVER (PARTITION BY member_id, wallet)::bigint AS available,
    pending_after AS pending,
    held_after AS held,
    debt_after AS debt,
    seq AS last_seq,
    recorded_at AS changed_at
FROM balance_changes
ORDER BY member_id, wallet, seq DESC;

-- Members of whom an entry is missing: none is, ever. Each row names the first one that is not there.
CREATE OR REPLACE VIEW missing_entries AS
SELECT member_id, before + 1 AS missing_seq, seq AS next_seq
FROM (
    SELECT member_id, seq, lag(seq, 1, 0::bigint) OVER (PARTITION BY member_id ORDER BY seq) AS before
    FROM balance_changes
) AS entries
WHERE seq <> before + 1;

-- Members whose entries do not come to the balance that they tell: there are none, ever.
CREATE OR REPLACE VIEW wrong_balances AS
SELECT member_id, wallet, seq, available_after, available AS sum_of_deltas
FROM (
    SELECT member_id, wallet, seq, available_after,
        sum(delta) OVER (PARTITION BY member_id, wallet ORDER BY seq)::bigint AS available
    FROM balance_changes
) AS entries
WHERE available <> available_after;

-- Standings that differ from the ledger as of the same entry: there are none, ever. A standing whose
-- entry is not here yet, or is not the member's last one any more, is not looked at.
CREATE OR REPLACE VIEW wrong_standings AS
SELECT 'crm_sync' AS relation, standing.member_id, standing.available, ledger.available AS of_ledger
FROM crm_sync AS standing
JOIN member_balances AS ledger ON ledger.member_id = standing.member_id AND ledger.wallet = 'points'
WHERE standing.available <> ledger.available
    AND standing.seq = (SELECT max(seq) FROM balance_changes WHERE member_id = standing.member_id)
UNION ALL
SELECT 'mall_sync', standing.member_id, standing.available, ledger.available
FROM mall_sync AS standing
JOIN member_balances AS ledger ON ledger.member_id = standing.member_id AND ledger.wallet = 'points'
WHERE standing.available <> ledger.available
    AND standing.seq = (SELECT max(seq) FROM balance_changes WHERE member_id = standing.member_id);

-- The lots that each entry touched, one per row.
CREATE OR REPLACE VIEW balance_change_lots AS
SELECT
    change.member_id,
    change.seq,
    change.wallet,
    change.type,
    lot->>'lot_id' AS lot_id,
    (lot->>'delta')::bigint AS delta,
    pointstream_moment(lot->>'expires_at') AS expires_at
FROM balance_changes AS change
CROSS JOIN LATERAL jsonb_array_elements(change.lots) AS lot;

-- What members have in the wallets besides `points`, as the CRM was told.
CREATE OR REPLACE VIEW crm_wallets AS
SELECT
    standing.member_id,
    left(field.key, -length('_available')) AS wallet,
    field.value::bigint AS available
FROM crm_sync AS standing
CROSS JOIN LATERAL jsonb_each_text(standing.body) AS field
WHERE field.key LIKE '%\_available';

-- Points moved, by UTC day of when it happened.
CREATE OR REPLACE VIEW daily_movements AS
SELECT
    (occurred_at AT TIME ZONE 'UTC')::date AS day,
    wallet,
    type,
    store_id,
    count(*) AS entries,
    sum(amount)::bigint AS points,
    sum(delta)::bigint AS change_of_balance
FROM balance_changes
GROUP BY 1, 2, 3, 4;
