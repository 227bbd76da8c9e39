"""Real worker processes on a real broker: killed, frozen, cut off, and audited from the outside."""
