"""Who may send what through the tunnel: settings to an nftables ruleset to one transaction."""
