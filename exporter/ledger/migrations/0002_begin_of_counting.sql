-- When all agents were last listed outlives the process, and where counting begins is told apart from
-- how far retention has let go.
ALTER TABLE workspace ADD COLUMN listed_ns INTEGER;
ALTER TABLE workspace ADD COLUMN listed INTEGER NOT NULL DEFAULT 1;
ALTER TABLE agent ADD COLUMN counted_from_ns INTEGER NOT NULL DEFAULT 0;
UPDATE agent SET counted_from_ns = floor_ns;
