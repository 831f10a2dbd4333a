SELECT DISTINCT hub FROM `my-project`.`shop`.`_syncer_receipts` ORDER BY 1;
SELECT hub, source, coalesce(max(load), 0) FROM `my-project`.`shop`.`_syncer_receipts` WHERE collection = 'orders' GROUP BY hub, source;
SELECT CAST(properties AS STRING), gone_since, coalesce(held_back, 0), coalesce(told_until, 0) FROM `my-project`.`shop`.`_syncer_receipts` WHERE hub = '0a0a0a0a' AND collection = 'orders' AND load = 1 LIMIT 1;
SELECT load, `read`, `inserted`, `updated`, `unchanged`, `duplicates`, `stale`, `filtered`, `rejected`, `rejected_values`, `deleted`, `held_back` FROM `my-project`.`shop`.`_syncer_receipts` WHERE hub = '0a0a0a0a' AND collection = 'orders' AND load >= 1;
SELECT collection, property, type, whole_record, count(*), min(reason), min(segment) FROM `my-project`.`shop`.`_syncer_rejects` GROUP BY collection, property, type, whole_record ORDER BY count(*) DESC, collection, property;
SELECT DISTINCT raw FROM `my-project`.`shop`.`_syncer_rejects` WHERE collection = 'orders' AND coalesce(property, '') = 'sum' AND whole_record = False ORDER BY raw LIMIT 5;
BEGIN;
INSERT INTO `my-project`.`shop`.`_syncer_runs` (`run`, `verb`, `collection`, `started_at`) SELECT CAST(JSON_VALUE(one, '$[0]') AS INT64), JSON_VALUE(one, '$[1]'), JSON_VALUE(one, '$[2]'), TIMESTAMP_MICROS(CAST(JSON_VALUE(one, '$[3]') AS INT64)) FROM UNNEST(JSON_QUERY_ARRAY(@rows)) AS one;
COMMIT;
