"""What a service keeps: collections with their uploads, label sets and recognisers, each by its name.

HOME/collections/NAME.anmok     a collection
HOME/uploads/NAME/…             pictures that clients sent to it
HOME/labels/NAME.anmok          a label set
HOME/recognisers/NAME/          what `anmok adapt` made

library.Library                 all of it: what routes and jobs work with
"""

from anmok.serve.library.library import Library

__all__ = ["Library"]
