-- Which functions the database has: the digest of their files. Empty: to be created.
CREATE TABLE schema_functions (digest text NOT NULL);
INSERT INTO schema_functions VALUES ('');
