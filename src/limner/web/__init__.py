"""The pages and the network interface of Limner."""
