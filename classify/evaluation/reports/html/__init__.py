"""A comparison as one HTML file that needs no network: `report.html`."""
