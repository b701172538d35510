"""What is written from the code for those who watch Waybill: the page of metrics, the dashboards."""
