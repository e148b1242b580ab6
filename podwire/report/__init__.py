"""The report: one document of what a run found out, and everything that is made of it.

::

    intent, verdict, observations ──> document.build ──> results.json ──> index.html   page, static, assets/
                                                              │           junit.xml     junit
                                                              │           results.sarif sarif
                                                              │           metrics.prom  metrics
                                                              └─ compare with another

Only the document is made where the run was; the rest is made of it, then or later and elsewhere.
``results.schema.json`` describes it; ``files`` writes and reads all of it. ``seen`` is the one module that nodes need.
"""
