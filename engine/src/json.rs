//! JSON objects as Go reads them: key names in any case, the last of equal keys wins.
