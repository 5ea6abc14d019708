"""What a server shall be, said in a document: read, compared to what is, and made so."""
