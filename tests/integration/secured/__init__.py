"""The whole job on a broker that asks who is there: TLS, SASL, and a list for each role."""
