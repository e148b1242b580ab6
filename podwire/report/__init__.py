"""The report: one document with the results of a run, and the files made from it.

::

    intent, verdict, observations ──> document.build ──> results.json ──> index.html   page, static, assets/
                                                              │           junit.xml     junit
                                                              │           results.sarif sarif
                                                              │           metrics.prom  metrics
                                                              └─ compare with another

The other files need only the document, so they can be made later and on another machine.
``results.schema.json`` describes it; ``files`` writes and reads all of it.
"""
